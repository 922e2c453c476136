//! Launching: at once or at a time in the tenant's zone, whole or with a canary first; and the window in which it may send.

use domain::campaign::{CampaignState, Standing};
use domain::canary::OnSuccess;
use domain::ids::{CampaignId, TenantId};
use domain::period::time_zone;
use domain::schedule;
use domain::sending_window::{Day, SendingWindow, WindowZone};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::commands::{change_in, found};
use crate::api::refused::Refused;
use crate::storage::campaigns::{self, Campaign};
use crate::storage::canaries::{self, NewCanary, StoredCanary};
use crate::storage::{StorageError, Transaction};

/// The smallest canary, in percent.
const PERCENT_LEAST: f64 = 0.1;
/// The largest canary, in percent: beyond it, it is the campaign.
const PERCENT_MOST: f64 = 50.0;
/// The longest hold, in minutes.
const HOLD_MOST: u32 = 7 * 24 * 60;

/// How to launch a campaign. Without a body, or with an empty one: at its `schedule_at`, or at once, and whole.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LaunchBody {
    /// When to start: RFC 3339, or a local date and time without an offset, which is in the tenant's time zone. `null` starts at once;
    /// absent keeps the campaign's own.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub schedule_at: Option<Option<String>>,
    /// A sample that goes first. `null` takes back what an earlier launch asked for.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<CanaryBody>)]
    pub canary: Option<Option<CanaryBody>>,
}

/// A sample of the campaign that goes first; its failures decide whether the rest follows.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CanaryBody {
    /// How much of the campaign, in percent: 0.1 to 50, at least one message and at most 50,000.
    pub percent: f64,
    /// How long outcomes are awaited after the last of the sample has left: 0 to 10,080 minutes.
    pub hold_minutes: u32,
    /// The share of failed and dead messages that is still well, in percent. Fewer than three failures never stop a campaign, unless
    /// everything failed.
    pub max_failure_percent: f64,
    /// `continue`: the rest follows; `wait`: the campaign pauses until it is resumed.
    #[serde(default)]
    pub then: Option<String>,
}

/// How a canary stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct CanaryView {
    /// `choosing`, `sending`, `holding`, `passed` or `failed`.
    pub state: &'static str,
    /// How many messages it has.
    pub size: i64,
    /// How many of them have an outcome.
    pub done: i64,
    /// How many of these failed or are dead.
    pub failed: i64,
    /// How much of the campaign was asked for, in percent.
    pub percent: f64,
    /// The share of failures that is still well, in percent.
    pub max_failure_percent: f64,
    /// What follows if it goes well: `continue` or `wait`.
    pub then: &'static str,
    /// When it is decided at the latest; known once all have left.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub decides_at: Option<Timestamp>,
    /// When it was decided.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub decided_at: Option<Timestamp>,
}

/// When recipients may be written to.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowBody {
    /// `HH:MM`, local.
    pub start: String,
    /// `HH:MM`, local and later than the start; `24:00` is the end of the day.
    pub end: String,
    /// `mon` to `sun`; every day if absent.
    #[serde(default)]
    pub days: Option<Vec<String>>,
    /// `recipient` (as far as a number tells where its owner is, else the tenant's) or `tenant`; `recipient` if absent.
    #[serde(default)]
    pub zone: Option<String>,
}

/// Tells what is `null` from what is absent.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(value: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(value).map(Some)
}

impl From<StoredCanary> for CanaryView {
    fn from(stored: StoredCanary) -> Self {
        Self {
            state: stored.canary.state.as_str(),
            size: stored.canary.size,
            done: stored.done,
            failed: stored.failed,
            percent: stored.percent,
            max_failure_percent: stored.canary.max_failure_percent,
            then: stored.on_success.as_str(),
            decides_at: stored.canary.decides_at,
            decided_at: stored.decided_at,
        }
    }
}

impl From<&SendingWindow> for WindowBody {
    fn from(window: &SendingWindow) -> Self {
        let days = window.days().into_iter().map(Day::as_str).map(str::to_owned);
        Self {
            start: window.start(),
            end: window.end(),
            days: Some(days.collect()),
            zone: Some(window.zone.as_str().to_owned()),
        }
    }
}

/// Reads a window.
pub(super) fn checked_window(body: Option<&WindowBody>) -> Result<Option<SendingWindow>, Refused> {
    let Some(body) = body else { return Ok(None) };
    let invalid = |problem: &dyn std::fmt::Display| Refused::invalid("window", problem);
    let zone = match body.zone.as_deref() {
        Some(name) => name
            .parse()
            .map_err(|_| invalid(&"zone: `recipient` or `tenant`"))?,
        None => WindowZone::Recipient,
    };
    let window = SendingWindow::new(&body.start, &body.end, body.days.as_deref(), zone);
    window.map(Some).map_err(|error| invalid(&error))
}

fn checked_canary(body: &CanaryBody) -> Result<NewCanary, Refused> {
    let invalid = |problem: String| Err(Refused::invalid("canary", problem));
    if !(PERCENT_LEAST..=PERCENT_MOST).contains(&body.percent) {
        return invalid(format!("percent: {PERCENT_LEAST} to {PERCENT_MOST}"));
    }
    if body.hold_minutes > HOLD_MOST {
        return invalid(format!("hold_minutes: 0 to {HOLD_MOST}"));
    }
    if !(0.0..=100.0).contains(&body.max_failure_percent) {
        return invalid("max_failure_percent: 0 to 100".to_owned());
    }
    let on_success = match body.then.as_deref() {
        Some(name) => name
            .parse()
            .map_err(|_| Refused::invalid("canary", "then: `continue` or `wait`"))?,
        None => OnSuccess::Continue,
    };
    Ok(NewCanary {
        percent: body.percent,
        hold_seconds: i32::try_from(body.hold_minutes * 60).unwrap_or(i32::MAX),
        max_failure_percent: body.max_failure_percent,
        on_success,
    })
}

/// Reads a time in the tenant's zone, and refuses one that is over.
pub(super) fn checked_schedule(text: &str, zone: &str) -> Result<Timestamp, Refused> {
    let zone = time_zone(zone).map_err(|error| Refused::Storage(StorageError::nonsense(error)))?;
    let invalid = |error| Refused::invalid("schedule_at", error);
    let at = schedule::read(text, &zone).map_err(invalid)?;
    schedule::is_later(at, Timestamp::now()).map_err(invalid)?;
    Ok(at)
}

/// Launches a campaign in a transaction.
pub(super) async fn launch_in(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: CampaignId,
    body: &LaunchBody,
) -> Result<Campaign, Refused> {
    let before = found(transaction, tenant, campaign).await?;
    let waits = matches!(
        before.standing.state,
        CampaignState::Draft | CampaignState::Scheduled
    );
    let at = match &body.schedule_at {
        None => before.schedule_at,
        Some(None) => None,
        Some(Some(text)) => Some(checked_schedule(text, &before.timezone)?),
    };
    let mut later = false;
    if let Some(at) = at.filter(|_| waits) {
        let judged = schedule::is_later(at, Timestamp::now());
        later = judged.map_err(|error| Refused::invalid("schedule_at", error))?;
    }
    if waits {
        campaigns::set_schedule(transaction, tenant, campaign, at).await?;
        if let Some(canary) = &body.canary {
            let canary = canary.as_ref().map(checked_canary).transpose()?;
            canaries::set(transaction, tenant, campaign, canary).await?;
        }
    }
    let rule = |standing: Standing| standing.launch(later);
    let after = change_in(transaction, tenant, campaign, rule).await?;
    // Counted under the lock, which waits for uploads under way.
    if after.counts.total() == 0 {
        return Err(Refused::Conflict {
            code: "campaign_empty",
            sentence: "the campaign has no recipients: add some first".to_owned(),
        });
    }
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(text: &str) -> LaunchBody {
        serde_json::from_str(text).expect("a body")
    }

    #[test]
    fn null_is_now_and_absent_is_as_planned() {
        assert_eq!(launch("{}").schedule_at, None);
        assert_eq!(launch(r#"{"schedule_at": null}"#).schedule_at, Some(None));
        let at = launch(r#"{"schedule_at": "2026-12-24T09:00"}"#).schedule_at;
        assert_eq!(at, Some(Some("2026-12-24T09:00".to_owned())));
        assert!(serde_json::from_str::<LaunchBody>(r#"{"shedule_at": null}"#).is_err());
    }

    #[test]
    fn a_canary_that_makes_no_sense_says_which_part() {
        let canary = |text: &str| checked_canary(&serde_json::from_str(text).expect("a canary"));
        let good = r#"{"percent": 1, "hold_minutes": 30, "max_failure_percent": 5, "then": "wait"}"#;
        assert_eq!(canary(good).expect("good").on_success, OnSuccess::Wait);
        for (text, part) in [
            (
                r#"{"percent": 0, "hold_minutes": 30, "max_failure_percent": 5}"#,
                "percent",
            ),
            (
                r#"{"percent": 60, "hold_minutes": 30, "max_failure_percent": 5}"#,
                "percent",
            ),
            (
                r#"{"percent": 1, "hold_minutes": 99999, "max_failure_percent": 5}"#,
                "hold_minutes",
            ),
            (
                r#"{"percent": 1, "hold_minutes": 3, "max_failure_percent": 500}"#,
                "max_failure",
            ),
            (
                r#"{"percent": 1, "hold_minutes": 3, "max_failure_percent": 5, "then": "stop"}"#,
                "then",
            ),
        ] {
            let refused = canary(text).expect_err(text).to_string();
            assert!(refused.contains(part), "{refused}");
        }
    }

    #[test]
    fn a_window_is_shown_as_it_would_be_asked_for() {
        let body = WindowBody {
            start: "09:00".to_owned(),
            end: "20:00".to_owned(),
            days: Some(vec!["mon".to_owned(), "fri".to_owned()]),
            zone: None,
        };
        let window = checked_window(Some(&body)).expect("a window").expect("one");
        let shown = WindowBody::from(&window);
        assert_eq!(checked_window(Some(&shown)).expect("a window"), Some(window));
        assert!(
            checked_window(Some(&WindowBody {
                zone: Some("mars".to_owned()),
                ..body
            }))
            .is_err()
        );
    }
}
