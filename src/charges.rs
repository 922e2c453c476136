//! The outside truth: what was booked, compared with what Meta says it charged, by account, day (UTC) and category.

use std::collections::BTreeMap;

use domain::invariants::Invariant;
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};

use crate::meta::{Charged, Client};
use crate::storage::audit::{Finding, Report};
use crate::storage::charges::{self, Account, Booked};
use crate::storage::sender_directory::SenderDirectory;
use crate::storage::{Database, StorageError};

/// Our books and Meta's.
pub const CHARGED: Invariant = Invariant {
    id: "R9",
    says: "the captured units of an account, day and category are what Meta says it charged",
};
/// Days that are compared at a time.
const DAYS: i64 = 7;
/// Days that are left out, today among them: Meta's figures settle only after a while.
pub const UNSETTLED_DAYS: u32 = 4;

/// What is compared, in Unix seconds.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: i64,
    end: i64,
}

impl Span {
    /// The days before the youngest ones.
    fn before(now: Timestamp, unsettled_days: u32) -> Result<Self, StorageError> {
        let today = now
            .to_zoned(TimeZone::UTC)
            .start_of_day()
            .map_err(StorageError::nonsense)?;
        let end = today.checked_add((1 - i64::from(unsettled_days)).days());
        let end = end.map_err(StorageError::nonsense)?;
        let start = end.checked_sub(DAYS.days()).map_err(StorageError::nonsense)?;
        Ok(Self {
            start: start.timestamp().as_second(),
            end: end.timestamp().as_second(),
        })
    }
}

/// Compares a week, up to the youngest days. An account about which Meta does not answer is left out, and named in the report.
///
/// # Errors
/// What the database says.
pub async fn compare(
    database: &Database,
    (senders, meta): (&SenderDirectory, &Client),
    now: Timestamp,
    unsettled_days: u32,
) -> Result<Report, StorageError> {
    let span = Span::before(now, unsettled_days)?;
    let mut transaction = database.begin().await?;
    // All that was captured in a week is read: it may take longer than a request may.
    transaction.run_script("SET LOCAL statement_timeout = 0").await?;
    let accounts = charges::accounts(&mut transaction).await?;
    let booked = charges::booked(&mut transaction, span.start, span.end).await?;
    transaction.commit().await?;
    let mut report = Report::default();
    for account in &accounts {
        match ask(account, (senders, meta), span).await {
            Ok(charged) => {
                let own = booked.iter().filter(|one| one.waba_id == account.waba_id);
                let found = differences(own, &charged);
                report.findings.extend(found.into_iter().map(|found| Finding {
                    invariant: CHARGED,
                    tenant: account.tenant,
                    found: format!("account {}, {found}", account.waba_id),
                }));
                report.tenants += 1;
                report.rows += charged.iter().map(|one| one.messages).sum::<i64>();
            }
            Err(error) => report.unanswered.push(format!(
                "account {} of tenant {}: {error}",
                account.waba_id, account.tenant
            )),
        }
    }
    Ok(report)
}

async fn ask(
    account: &Account,
    (senders, meta): (&SenderDirectory, &Client),
    span: Span,
) -> Result<Vec<Charged>, String> {
    let sender = senders.by_id(account.sender).await;
    let sender = sender.map_err(|error| error.to_string())?;
    let sender = sender.ok_or("its number has gone")?;
    meta.charged(&sender, span.start, span.end).await
}

fn differences<'a>(booked: impl Iterator<Item = &'a Booked>, charged: &[Charged]) -> Vec<String> {
    let mut both: BTreeMap<(i64, &str), (i64, i64)> = BTreeMap::new();
    for one in booked {
        both.entry((one.day, &one.category)).or_default().0 += one.units;
    }
    for one in charged {
        both.entry((one.day, &one.category)).or_default().1 += one.messages;
    }
    let differ = both.into_iter().filter(|(_, (ours, metas))| ours != metas);
    differ
        .map(|((day, category), (ours, metas))| {
            let day = Timestamp::from_second(day)
                .unwrap_or_default()
                .strftime("%Y-%m-%d")
                .to_string();
            format!("{day}, {category}: {ours} are captured, and Meta charged {metas}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_day_and_category_is_compared_by_itself() {
        let booked = [("utility", 5), ("marketing", 2)].map(|(category, units)| Booked {
            waba_id: "1".to_owned(),
            day: 86_400,
            category: category.to_owned(),
            units,
        });
        let charged = [
            (86_400, "utility", 5),
            (86_400, "marketing", 3),
            (172_800, "utility", 1),
        ];
        let charged = charged.map(|(day, category, messages)| Charged {
            day,
            category: category.to_owned(),
            messages,
        });
        assert_eq!(
            differences(booked.iter(), &charged),
            [
                "1970-01-02, marketing: 2 are captured, and Meta charged 3",
                "1970-01-03, utility: 0 are captured, and Meta charged 1"
            ]
        );
        assert_eq!(
            differences(booked.iter().take(1), &charged[..1]),
            [] as [String; 0]
        );
    }

    #[test]
    fn the_youngest_days_are_left_out() {
        let now: Timestamp = "2026-11-25T09:30:00Z".parse().expect("a time");
        let day = |text: &str| text.parse::<Timestamp>().expect("a time").as_second();
        let span = Span::before(now, 4).expect("a span");
        assert_eq!(
            (span.start, span.end),
            (day("2026-11-15T00:00:00Z"), day("2026-11-22T00:00:00Z"))
        );
        assert_eq!(
            Span::before(now, 0).expect("a span").end,
            day("2026-11-26T00:00:00Z")
        );
    }
}
