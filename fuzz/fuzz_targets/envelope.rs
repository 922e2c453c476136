//! Bodies of deliveries: none makes us panic, some part of each is kept, and what is kept is JSON.

#![no_main]

use domain::ids::TenantId;
use domain::webhook::Quarantine;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use malote::webhooks::changes::{Part, Rows, parts};
use malote::webhooks::envelope::count_updates;

fuzz_target!(|data: &[u8]| {
    let _ = count_updates(data);
    let now = Timestamp::UNIX_EPOCH;
    let mut kept = Rows::default();
    for (part, number) in parts(data).into_iter().zip(0..) {
        match part {
            Part::Change(sorted) => {
                let owner = TenantId(uuid::Uuid::from_u128(1));
                let owner = if number % 3 == 2 { Err(Quarantine::UnknownNumber) } else { Ok(owner) };
                kept.extend(sorted.rows(owner, now));
            }
            Part::NotUnderstood(rows) => kept.extend(rows),
        }
    }
    assert!(!kept.statuses.is_empty() || !kept.others.is_empty(), "nothing was kept");
    for other in &kept.others {
        assert!(!other.kind.contains('\0') && !other.waba_id.contains('\0'));
        assert!(serde_json::from_str::<&serde_json::value::RawValue>(&other.raw).is_ok(), "{}", other.raw);
    }
    assert!(kept.statuses.iter().all(|status| !status.wamid.contains('\0')));
});
