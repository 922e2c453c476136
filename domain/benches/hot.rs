//! The pure functions that run once or more per message: each should cost far less than the I/O around it.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use domain::audit_chain::{LedgerRow, genesis, hash_row};
use domain::counts::Counts;
use domain::ids::{AttemptId, TenantId};
use domain::ledger::{Account, Fact, LedgerKind, Settlement, settle};
use domain::message::MessageState;
use domain::meta_error::classify;
use domain::rate_limit::Gcra;
use domain::signature::{sign_meta, verify_meta};
use uuid::Uuid;

/// A status webhook of Meta is about as long.
const WEBHOOK_BYTES: usize = 700;
/// The emission interval of a number of 1,000 messages a second, in nanoseconds.
const INTERVAL_NS: u64 = 1_000_000;

fn settles(criterion: &mut Criterion) {
    criterion.bench_function("ledger::settle", |bencher| {
        bencher.iter(|| {
            settle(
                black_box(Settlement::Reserved),
                black_box(Fact::DeliveredBillable),
            )
        });
    });
}

fn hashes(criterion: &mut Criterion) {
    let tenant = TenantId(Uuid::from_u128(1));
    let previous = genesis(tenant);
    let row = LedgerRow {
        tenant,
        seq: 1,
        kind: LedgerKind::Reserve,
        attempt: Some(AttemptId(Uuid::from_u128(2))),
        period: 202_611,
        segment: 1,
        pool: "messages".to_owned(),
        category: "utility".to_owned(),
        debit: Account::Available,
        credit: Account::Held,
        units: 1,
        micros: 0,
        currency: "EUR".to_owned(),
        evidence: None,
        epoch: 7,
        at_us: 1_795_000_000_000_000,
    };
    criterion.bench_function("audit_chain::hash_row", |bencher| {
        bencher.iter(|| hash_row(black_box(&previous), black_box(&row)));
    });
}

fn verifies(criterion: &mut Criterion) {
    let secret: &[u8] = b"0123456789abcdef0123456789abcdef";
    let body = vec![b'x'; WEBHOOK_BYTES];
    let header = sign_meta(secret, &body);
    let mut group = criterion.benchmark_group("signature");
    group.throughput(Throughput::Bytes(WEBHOOK_BYTES as u64));
    group.bench_function("verify_meta", |bencher| {
        bencher.iter(|| verify_meta(black_box(&[secret]), Some(&header), black_box(&body)));
    });
    group.finish();
}

fn limits(criterion: &mut Criterion) {
    let mut limiter = Gcra::new(INTERVAL_NS, 100);
    let mut now = 0;
    criterion.bench_function("Gcra::take_up_to", |bencher| {
        bencher.iter(|| {
            now += INTERVAL_NS;
            limiter.take_up_to(black_box(now), black_box(50))
        });
    });
}

fn classifies(criterion: &mut Criterion) {
    criterion.bench_function("meta_error::classify", |bencher| {
        bencher.iter(|| classify(black_box(131_049), black_box(false)));
    });
}

fn counts(criterion: &mut Criterion) {
    let mut counts = Counts::default();
    criterion.bench_function("Counts::moved", |bencher| {
        bencher.iter(|| {
            counts.moved(black_box(MessageState::Queued), black_box(MessageState::Sending));
            counts.is_zero()
        });
    });
}

criterion_group!(hot, settles, hashes, verifies, limits, classifies, counts);
criterion_main!(hot);
