//! Why a campaign is as fast as it is, and when it will arrive.

use std::collections::BTreeMap;

use domain::campaign::CampaignState;
use domain::ids::{CampaignId, TenantId};
use domain::local_window::LocalWindow;
use domain::message::MessageState;
use domain::progress::{Explanation, Situation, explain};
use domain::sending_window::{Opening, WindowZone};
use jiff::{Timestamp, ToSpan as _};
use serde::Serialize;
use utoipa::ToSchema;

use crate::storage::campaigns::Campaign;
use crate::storage::canaries::StoredCanary;
use crate::storage::paces::{self, Pace};
use crate::storage::{Redis, StorageError, Transaction, outages};

/// Why a campaign is as fast as it is, and when it will arrive.
#[derive(Debug, Serialize, ToSchema)]
pub struct PaceView {
    /// What keeps it from being faster: `scheduled`, `paused`, `plan_allowance`, `canary`, `window`, `meta_down`, `portfolio`,
    /// `retry_delay`, `adaptive_rate`, `plan_rate`, `number_rate` or `backlog`.
    pub binding_limit: &'static str,
    /// The same in a sentence or two.
    pub explanation: String,
    /// What left in the last minute, messages a second; none while there is too little to measure.
    pub messages_per_second: Option<f64>,
    /// When the last message would leave, at that pace and within its windows; none where nobody can honestly say.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub estimated_end: Option<Timestamp>,
    /// Why there is no time of arrival.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_estimate_because: Option<String>,
}

/// What the rows tell of a campaign's pace.
pub(super) struct Known {
    pace: Pace,
    window: Option<LocalWindow>,
    recipients: Vec<String>,
}

/// Reads what explains a campaign that is not over; none for the others.
pub(super) async fn known(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: &Campaign,
) -> Result<Option<Known>, StorageError> {
    use CampaignState as State;
    if !matches!(
        campaign.standing.state,
        State::Scheduled | State::Running | State::Paused
    ) {
        return Ok(None);
    }
    let Some(pace) = paces::pace(transaction, tenant, campaign.id).await? else {
        return Ok(None);
    };
    let window = window_of(campaign)?;
    let recipients = left_of(transaction, tenant, campaign.id, window.as_ref()).await?;
    Ok(Some(Known {
        pace,
        window,
        recipients,
    }))
}

/// Gives the campaign's window in the tenant's zone.
pub(super) fn window_of(campaign: &Campaign) -> Result<Option<LocalWindow>, StorageError> {
    let local = |window| LocalWindow::new(window, &campaign.timezone).map_err(StorageError::nonsense);
    campaign.window.map(local).transpose()
}

/// Gives a sample of who is left, where it matters where they are.
pub(super) async fn left_of(
    transaction: &mut Transaction,
    tenant: TenantId,
    campaign: CampaignId,
    window: Option<&LocalWindow>,
) -> Result<Vec<String>, StorageError> {
    match window {
        Some(window) if window.window.zone == WindowZone::Recipient => {
            paces::recipients_left(transaction, tenant, campaign).await
        }
        _ => Ok(Vec::new()),
    }
}

/// Explains a campaign's pace.
pub(super) async fn explained(
    redis: &Redis,
    campaign: &Campaign,
    canary: Option<&StoredCanary>,
    known: &Known,
) -> Option<PaceView> {
    let now = Timestamp::now();
    let pace = &known.pace;
    let in_hand = campaign.counts[MessageState::Queued] + campaign.counts[MessageState::Sending];
    let waits = pace.first_due.filter(|due| in_hand == 0 && *due > now);
    let situation = Situation {
        standing: campaign.standing,
        canary: canary.map(|canary| canary.canary.state),
        closed_until: closed_until(known, now),
        next_due: waits,
        meta_down_until: outages::meta_down_until(redis).await,
        is_portfolio_full: pace.is_portfolio_full,
        number_rate: pace.number_rate,
        adaptive_rate: paces::limiter_rate(redis, pace.sender).await,
        plan_rate: pace.plan_rate,
        sharing: pace.sharing,
        measured: pace.measured,
    };
    let explanation = explain(&situation)?;
    let (estimated_end, no_estimate_because) = arrival(campaign, known, &explanation, now);
    Some(PaceView {
        binding_limit: explanation.limit.as_str(),
        explanation: explanation.sentence,
        messages_per_second: pace.measured,
        estimated_end,
        no_estimate_because,
    })
}

/// Until when the window is closed for everybody who is left.
fn closed_until(known: &Known, now: Timestamp) -> Option<Timestamp> {
    let window = known.window.as_ref()?;
    if window.window.zone == WindowZone::Tenant {
        return window.closed_for_all_until(now);
    }
    let openings = known
        .recipients
        .iter()
        .map(|recipient| match window.at(now, recipient) {
            Opening::Open(_) => None,
            Opening::ClosedUntil(at) => Some(at),
        });
    openings.collect::<Option<Vec<_>>>()?.into_iter().min()
}

fn arrival(
    campaign: &Campaign,
    known: &Known,
    explanation: &Explanation,
    now: Timestamp,
) -> (Option<Timestamp>, Option<String>) {
    let unknown = |why: &str| (None, Some(why.to_owned()));
    let Some(rate) = explanation.rate else {
        return unknown("it depends on something that has no time: see the explanation");
    };
    let states = [MessageState::Planned, MessageState::Queued, MessageState::Sending];
    let left: i64 = states.iter().map(|state| campaign.counts[state]).sum();
    let start = campaign.schedule_at.map_or(now, |at| at.max(now));
    let end = finishes_at(start, left, rate, known.window.as_ref(), &known.recipients);
    match end {
        // What waits for a retry or an opening leaves no earlier than it is due.
        Some(end) => (Some(known.pace.last_due.map_or(end, |due| end.max(due))), None),
        None => unknown("at this pace it would take more than three months"),
    }
}

/// Works out when the last of some messages would leave.
pub(super) fn finishes_at(
    start: Timestamp,
    messages: i64,
    messages_per_second: f64,
    window: Option<&LocalWindow>,
    sample: &[String],
) -> Option<Timestamp> {
    if messages == 0 {
        return Some(start);
    }
    if let Some(window) = window {
        let zones = zones_of(window, sample, messages);
        return window.window.finishes_at(start, &zones, messages_per_second);
    }
    let seconds = messages as f64 / messages_per_second;
    let milliseconds: i64 = format!("{:.0}", seconds * 1_000.0).parse().ok()?;
    start.checked_add(milliseconds.milliseconds()).ok()
}

/// Spreads messages over the zones as the sample is spread.
fn zones_of<'a>(window: &'a LocalWindow, sample: &'a [String], messages: i64) -> BTreeMap<&'a str, i64> {
    let mut zones: BTreeMap<&str, i64> = BTreeMap::new();
    for recipient in sample {
        *zones.entry(window.zone_for(recipient)).or_default() += 1;
    }
    let sampled: i64 = zones.values().sum();
    if sampled == 0 {
        return BTreeMap::from([(window.zone_for(""), messages)]);
    }
    for number in zones.values_mut() {
        *number = (*number * messages / sampled).max(1);
    }
    zones
}

#[cfg(test)]
mod tests {
    use domain::sending_window::SendingWindow;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a timestamp")
    }

    #[test]
    fn without_a_window_the_rate_says_when_it_ends() {
        let start = at("2026-07-01T10:00:00Z");
        assert_eq!(
            finishes_at(start, 800, 80.0, None, &[]),
            Some(at("2026-07-01T10:00:10Z"))
        );
        assert_eq!(finishes_at(start, 0, 80.0, None, &[]), Some(start));
    }

    #[test]
    fn with_a_window_those_who_sleep_are_waited_for() {
        let window =
            SendingWindow::new("09:00", "20:00", None::<&[&str]>, WindowZone::Recipient).expect("a window");
        let window = LocalWindow::new(window, "UTC").expect("a zone");
        let sample = ["+351910000000".to_owned(), "+13105550123".to_owned()];
        let end = finishes_at(at("2026-07-01T10:00:00Z"), 1_200, 1.0, Some(&window), &sample);
        assert_eq!(end, Some(at("2026-07-01T16:10:00Z")));
    }
}
