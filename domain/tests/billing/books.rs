//! A tenant's books in memory. What is kept apart as `kept` survives a crash; everything else is read from it again.

use std::collections::{BTreeMap, BTreeSet};

use domain::audit_chain::{ChainHash, LedgerRow, Verifier, genesis, hash_row};
use domain::booking::{BookedPeriod, Course};
use domain::category::Category;
use domain::correction::Correction;
use domain::ids::{AttemptId, PlanId, TenantId};
use domain::invariants::{Counters, Rows, fold_attempt};
use domain::invoice::{EarlierPeriod, Invoice, InvoiceFacts};
use domain::ledger::{Account, CounterChange, Entry, Fact, LedgerKind, RESERVE, Settlement, settle};
use domain::money::{Micros, Minor};
use domain::plan::{Plan, reached, reservable};
use domain::plan_change::{Assignment, Assignments};
use domain::rating::{PeriodUse, Room, Segment};
use jiff::Timestamp;
use uuid::Uuid;

/// What a threshold was reached by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    /// Reserved and used units.
    Reserved,
    /// Used units.
    Used,
}

pub(crate) type Alert = (i32, i32, String, Measure, u8);
type Key = (i32, i32, String, String);

/// What a database would keep.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) plans: BTreeMap<PlanId, Plan>,
    assignments: Vec<Assignment>,
    zone: String,
    pub(crate) epoch: i64,
    pub(crate) periods: Vec<BookedPeriod>,
    pub(crate) rows: Vec<(LedgerRow, ChainHash)>,
    pub(crate) alerts: BTreeSet<Alert>,
    pub(crate) invoices: Vec<Invoice>,
    reasons: BTreeMap<Uuid, String>,
}

#[derive(Clone, Debug)]
struct Attempt {
    so_far: Settlement,
    reserved: Key,
}

/// The books of one tenant.
#[derive(Clone, Debug)]
pub(crate) struct Books {
    pub(crate) kept: Kept,
    head: (i64, ChainHash),
    pub(crate) counters: Counters,
    attempts: BTreeMap<AttemptId, Attempt>,
}

pub(crate) const TENANT: TenantId = TenantId(Uuid::from_u128(7));

impl Books {
    pub(crate) fn open(plans: Vec<Plan>, zone: &str, start: Timestamp) -> Self {
        let first = Assignment {
            plan: plans[0].id,
            effective_from: start,
            created_at: start,
        };
        let kept = Kept {
            plans: plans.into_iter().map(|plan| (plan.id, plan)).collect(),
            assignments: vec![first],
            zone: zone.to_owned(),
            epoch: 1,
            periods: Vec::new(),
            rows: Vec::new(),
            alerts: BTreeSet::new(),
            invoices: Vec::new(),
            reasons: BTreeMap::new(),
        };
        let mut books = Self {
            kept,
            head: (0, genesis(TENANT)),
            counters: Counters::new(),
            attempts: BTreeMap::new(),
        };
        books.advance(start);
        books
    }

    /// Forgets all that was only remembered, and reads it from the rows again: by a fold that knows nothing of how they were written.
    pub(crate) fn crash(self) -> Self {
        let mut verifier = Verifier::new(TENANT);
        let mut by_attempt: BTreeMap<AttemptId, Rows> = BTreeMap::new();
        for (row, hash) in &self.kept.rows {
            verifier.check(row, hash).expect("the chain is whole");
            if let Some(attempt) = row.attempt {
                let key = (row.period, row.segment, row.pool.clone(), row.category.clone());
                by_attempt.entry(attempt).or_default().push((row.kind, key));
            }
        }
        let (mut counters, mut attempts) = (Counters::new(), BTreeMap::new());
        for (attempt, rows) in by_attempt {
            fold_attempt(&mut counters, &rows);
            let so_far = Settlement::of(rows.iter().map(|(kind, _)| *kind));
            attempts.insert(
                attempt,
                Attempt {
                    so_far,
                    reserved: rows[0].1.clone(),
                },
            );
        }
        let whole = |counters: &Counters| -> Counters {
            let used = counters
                .iter()
                .filter(|(_, units)| **units != CounterChange::default());
            used.map(|(key, units)| (key.clone(), *units)).collect()
        };
        assert_eq!(
            whole(&counters),
            whole(&self.counters),
            "I10: rows fold to the counters"
        );
        Self {
            head: verifier.head(),
            counters,
            attempts,
            kept: self.kept,
        }
    }

    /// Opens the periods and segments whose time has come.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        let assignments = Assignments::new(self.kept.assignments.clone());
        let plans = &self.kept.plans;
        let course = Course {
            assignments: &assignments,
            zone: &self.kept.zone,
            anchor_of: &|plan| plans[&plan].anchor_day,
        };
        let last = self.kept.periods.pop();
        let due = course.advance(last, now).expect("periods");
        self.kept.periods.extend(due);
    }

    /// Puts the tenant on a plan from an instant on.
    pub(crate) fn assign(&mut self, plan: PlanId, effective_from: Timestamp, now: Timestamp) {
        let one = Assignment {
            plan,
            effective_from,
            created_at: now,
        };
        if !self.kept.assignments.contains(&one) {
            self.kept.assignments.push(one);
        }
        self.advance(now);
    }

    pub(crate) fn in_force(&self, now: Timestamp) -> PlanId {
        Assignments::new(self.kept.assignments.clone())
            .in_force(now)
            .expect("assigned")
            .plan
    }

    pub(crate) fn move_to(&mut self, zone: &str) {
        zone.clone_into(&mut self.kept.zone);
    }

    pub(crate) fn present(&self) -> &BookedPeriod {
        self.kept.periods.last().expect("a period")
    }

    fn plan(&self) -> &Plan {
        &self.kept.plans[&self.present().segments.last().expect("a segment").plan]
    }

    /// Reserves a unit if the plan allows it; a unit that is reserved already stays so.
    pub(crate) fn reserve(
        &mut self,
        now: Timestamp,
        attempt: AttemptId,
        category: Category,
        epoch: i64,
    ) -> bool {
        if epoch != self.kept.epoch {
            return false;
        }
        if self.attempts.contains_key(&attempt) {
            return true;
        }
        self.advance(now);
        let pool = self.plan().pool_of(category).expect("a pool").name.clone();
        let (held, captured) = self.used_of(&pool);
        if reservable(self.room(&pool).limit, held, captured, 1) == 0 {
            return false;
        }
        self.accept(now, attempt, category);
        true
    }

    /// Reserves a unit, whatever the plan says: in another order of the facts the same messages were sent.
    pub(crate) fn accept(&mut self, now: Timestamp, attempt: AttemptId, category: Category) {
        if self.attempts.contains_key(&attempt) {
            return;
        }
        self.advance(now);
        let pool = self.plan().pool_of(category).expect("a pool").name.clone();
        let segment = self.present().segments.len() as i32;
        let key = (self.present().number, segment, pool, category.as_str().to_owned());
        self.attempts.insert(
            attempt,
            Attempt {
                so_far: Settlement::Reserved,
                reserved: key.clone(),
            },
        );
        self.write(now, Some(attempt), &key, &key, RESERVE);
    }

    /// Applies a fact about an attempt.
    pub(crate) fn hear(&mut self, now: Timestamp, attempt: AttemptId, fact: Fact, billed: Option<Category>) {
        let Some(known) = self.attempts.get_mut(&attempt) else {
            return;
        };
        let Some(entry) = settle(known.so_far, fact) else {
            return;
        };
        known.so_far = known.so_far.max(Settlement::of([entry.kind]));
        let from = known.reserved.clone();
        let mut to = from.clone();
        if let (Fact::DeliveredBillable, Some(billed)) = (fact, billed) {
            let segment = &self.kept.periods[from.0 as usize - 1].segments[from.1 as usize - 1];
            to.2 = self.kept.plans[&segment.plan]
                .pool_of(billed)
                .expect("a pool")
                .name
                .clone();
            to.3 = billed.as_str().to_owned();
        }
        self.write(now, Some(attempt), &from, &to, entry);
    }

    fn write(&mut self, now: Timestamp, attempt: Option<AttemptId>, from: &Key, to: &Key, entry: Entry) {
        let before: Vec<_> = self
            .pools()
            .map(|pool| (pool.clone(), self.used_of(&pool)))
            .collect();
        let (leaves, enters) = entry.change.split();
        self.counters.entry(from.clone()).or_default().add(leaves);
        self.counters.entry(to.clone()).or_default().add(enters);
        self.push(now, (attempt, to), entry.kind, (entry.debit, entry.credit), None);
        for (pool, (held, captured)) in before {
            self.warn(&pool, Measure::Reserved, held + captured, |(held, captured)| {
                held + captured
            });
            self.warn(&pool, Measure::Used, captured, |(_, captured)| captured);
        }
    }

    fn warn(&mut self, pool: &str, measure: Measure, before: i64, of: impl Fn((i64, i64)) -> i64) {
        let after = of(self.used_of(pool));
        if after <= before {
            return;
        }
        let promised = self.room(pool).promised;
        let period = self.present();
        let place = (period.number, period.segments.len() as i32);
        for percent in reached(&self.plan().thresholds.clone(), promised, before, after) {
            self.kept
                .alerts
                .insert((place.0, place.1, pool.to_owned(), measure, percent));
        }
    }

    fn pools(&self) -> impl Iterator<Item = String> + use<> {
        let names: Vec<String> = self.plan().pools.iter().map(|pool| pool.name.clone()).collect();
        names.into_iter()
    }

    fn push(
        &mut self,
        now: Timestamp,
        (attempt, key): (Option<AttemptId>, &Key),
        kind: LedgerKind,
        (debit, credit): (Account, Account),
        money: Option<(Micros, Uuid)>,
    ) {
        let row = LedgerRow {
            tenant: TENANT,
            seq: self.head.0 + 1,
            kind,
            attempt,
            period: key.0,
            segment: key.1,
            pool: key.2.clone(),
            category: key.3.clone(),
            debit,
            credit,
            units: i64::from(attempt.is_some()),
            micros: money.map_or(0, |(amount, _)| amount.0),
            currency: "BRL".to_owned(),
            evidence: money.map(|(_, correction)| correction),
            epoch: self.kept.epoch,
            at_us: now.as_microsecond(),
        };
        self.head = (row.seq, hash_row(&self.head.1, &row));
        self.kept.rows.push((row, self.head.1));
    }

    /// Gives what is held and used of a pool in the present period.
    pub(crate) fn used_of(&self, pool: &str) -> (i64, i64) {
        let present = self.present().number;
        let of = self
            .counters
            .iter()
            .filter(|(key, _)| key.0 == present && key.2 == pool);
        of.fold((0, 0), |sum, (_, units)| {
            (sum.0 + units.held, sum.1 + units.captured)
        })
    }

    pub(crate) fn room(&self, pool: &str) -> Room {
        self.used(self.present().number, i64::MAX)
            .room_of(pool)
            .expect("rated")
    }

    pub(crate) fn hash(&self) -> ChainHash {
        self.head.1
    }

    /// Gives what was used in a period by the rows up to a place.
    pub(crate) fn used(&self, number: i32, upto: i64) -> PeriodUse {
        let booked = &self.kept.periods[number as usize - 1];
        let segments = booked.segments.iter().map(|segment| Segment {
            plan: self.kept.plans[&segment.plan].clone(),
            first_day: segment.first_day,
            captured: BTreeMap::new(),
        });
        let mut used = PeriodUse {
            days: booked.period.days(&booked.zone).expect("days"),
            segments: segments.collect(),
        };
        let all = upto >= self.head.0;
        if all {
            for (key, units) in self.counters.iter().filter(|(key, _)| key.0 == number) {
                let pools = &mut used.segments[key.1 as usize - 1].captured;
                *pools.entry(key.2.clone()).or_default() += units.captured;
            }
            return used;
        }
        for (row, _) in self.kept.rows.iter().take_while(|(row, _)| row.seq <= upto) {
            if row.period == number && matches!(row.kind, LedgerKind::Capture | LedgerKind::Recapture) {
                let pools = &mut used.segments[row.segment as usize - 1].captured;
                *pools.entry(row.pool.clone()).or_default() += 1;
            }
        }
        used
    }

    /// Gives the invoice of a period by the rows up to a place, after the invoices before it.
    pub(crate) fn invoice(&self, number: i32, cut: (i64, ChainHash)) -> Invoice {
        let before: Vec<&Invoice> = self
            .kept
            .invoices
            .iter()
            .filter(|invoice| invoice.period < number)
            .collect();
        let earlier = before.iter().map(|invoice| {
            let charged = before
                .iter()
                .map(|one| one.charged_for(invoice.period).expect("fits").0);
            EarlierPeriod {
                number: invoice.period,
                used: self.used(invoice.period, cut.0),
                invoiced: Minor(charged.sum()),
            }
        });
        let facts = InvoiceFacts {
            period: number,
            used: self.used(number, cut.0),
            earlier: earlier.collect(),
            corrections: self.corrections(number, cut.0),
            cut_seq: cut.0,
            cut_hash: cut.1,
        };
        Invoice::of(&facts).expect("rated")
    }

    /// Corrects the oldest invoice that is not issued yet; the same correction once.
    pub(crate) fn correct(&mut self, now: Timestamp, amount: Micros, reason: &str) {
        let id = Uuid::from_u128(reason.bytes().fold(0_u128, |sum, byte| {
            sum.wrapping_mul(131).wrapping_add(byte.into())
        }));
        if self.kept.reasons.insert(id, reason.to_owned()).is_some() {
            return;
        }
        self.advance(now);
        let key = (
            self.kept.invoices.len() as i32 + 1,
            1,
            String::new(),
            String::new(),
        );
        let accounts = (Account::Corrections, Account::Receivable);
        self.push(
            now,
            (None, &key),
            LedgerKind::Adjust,
            accounts,
            Some((amount, id)),
        );
    }

    /// Gives what was corrected on the invoice of a period by the rows up to a place.
    fn corrections(&self, number: i32, upto: i64) -> Vec<Correction> {
        let rows = self.kept.rows.iter().take_while(|(row, _)| row.seq <= upto);
        let of_period = rows.filter(|(row, _)| row.period == number && row.kind == LedgerKind::Adjust);
        let read = of_period.map(|(row, _)| Correction {
            amount: Micros(row.micros),
            reason: self.kept.reasons[&row.evidence.expect("a correction")].clone(),
        });
        read.collect()
    }

    /// Closes a period: what is heard later goes on the next invoice.
    pub(crate) fn close(&mut self, now: Timestamp, number: i32) {
        if self.kept.invoices.iter().any(|invoice| invoice.period == number) {
            return;
        }
        self.advance(now);
        let key = (number, 1, String::new(), String::new());
        self.push(
            now,
            (None, &key),
            LedgerKind::Close,
            (Account::Source, Account::Source),
            None,
        );
        let invoice = self.invoice(number, self.head);
        self.kept.invoices.push(invoice);
    }

    /// Gives all invoices, and the periods that are not closed as they would be invoiced now, one after the other.
    pub(crate) fn all_invoices(&self) -> Vec<Invoice> {
        let mut drawn = self.clone();
        for period in &self.kept.periods {
            if drawn
                .kept
                .invoices
                .iter()
                .all(|invoice| invoice.period != period.number)
            {
                let draft = drawn.invoice(period.number, self.head);
                drawn.kept.invoices.push(draft);
            }
        }
        drawn.kept.invoices
    }
}
