//! A campaign's life as JSON: its history.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::storage::campaign_events::CampaignEvent;

/// A change of a campaign's state.
#[derive(Debug, Serialize, ToSchema)]
pub struct HistoryView {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The state before, and after a colon why it was paused: `running`, `paused:plan_blocked`.
    pub from: String,
    /// The state after, in the same form.
    pub to: String,
    /// Who did it: `tenant`, `worker` (an answer of Meta or the plan), `planner` (a time or a condition), `meta` (news of Meta), `operator` or
    /// `malote`.
    pub by: String,
    /// What for.
    pub evidence: Option<String>,
}

impl From<CampaignEvent> for HistoryView {
    fn from(event: CampaignEvent) -> Self {
        Self {
            at: event.at,
            from: joined(event.from_state, event.from_reason),
            to: joined(event.to_state, event.to_reason),
            by: event.actor,
            evidence: event.evidence,
        }
    }
}

fn joined(state: String, reason: Option<String>) -> String {
    match reason {
        Some(reason) => format!("{state}:{reason}"),
        None => state,
    }
}
