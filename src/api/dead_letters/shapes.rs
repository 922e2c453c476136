//! `/v1/dead-letters`: the shapes.

use domain::dead_letter::{LetterKind, Replay, advice_of, class_of, replay_of};
use domain::ids::{CampaignId, TenantId};
use domain::meta_error::ErrorClass;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::api::messages::HappeningView;
use crate::api::refused::Refused;
use crate::storage::dead_letters::{Action, Done, Letter, LetterFilter, PastAction};

/// Letters that one request may name.
const MOST_IDS: usize = 10_000;
/// Characters of a reason.
const REASON_LONGEST: usize = 1_000;

/// Which letters to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct DeadQuery {
    /// Of this campaign only.
    pub campaign_id: Option<Uuid>,
    /// With a last error of this class only, for instance `transient`.
    pub class: Option<String>,
    /// `attempts_exhausted` or `poison` only.
    pub kind: Option<String>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// 1 to 200; 50 if absent.
    pub limit: Option<i64>,
}

/// Which letters to replay; all of them if nothing is said.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct ReplayBody {
    /// Of this campaign only.
    #[serde(default)]
    pub campaign_id: Option<Uuid>,
    /// These only.
    #[serde(default)]
    pub ids: Option<Vec<Uuid>>,
    /// With a last error of this class only, for instance `transient`.
    #[serde(default)]
    pub class: Option<String>,
    /// `attempts_exhausted` or `poison` only.
    #[serde(default)]
    pub kind: Option<String>,
    /// Also those for which it is not safe: whose last error says that a repetition cannot help or may harm, and poison.
    #[serde(default)]
    pub force: bool,
    /// Only tell what would happen.
    #[serde(default)]
    pub dry_run: bool,
    /// Why; kept with the record.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What a replay did, or would do.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::api) struct Replayed {
    /// Letters that will be tried again.
    pub replayed: i64,
    /// Letters that stay.
    pub skipped: i64,
    /// Why they stay.
    pub reasons: Vec<Skipped>,
    /// Nothing was done: this is what would be.
    pub dry_run: bool,
}

/// Which letters to give up on for good. Something must be said.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct PurgeBody {
    /// Of this campaign only.
    #[serde(default)]
    pub campaign_id: Option<Uuid>,
    /// These only.
    #[serde(default)]
    pub ids: Option<Vec<Uuid>>,
    /// With a last error of this class only.
    #[serde(default)]
    pub class: Option<String>,
    /// `attempts_exhausted` or `poison` only.
    #[serde(default)]
    pub kind: Option<String>,
    /// Why; kept with the record, and required.
    #[serde(default)]
    pub reason: Option<String>,
    /// Only tell what would happen.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a purge did, or would do.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::api) struct Purged {
    /// Messages that are `failed` now, and other letters that are closed.
    pub purged: i64,
    /// Letters that were no longer there.
    pub skipped: i64,
    /// Nothing was done: this is what would be.
    pub dry_run: bool,
}

/// Why letters stay.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::api) struct Skipped {
    /// A stable name.
    pub code: &'static str,
    /// How many.
    pub letters: i64,
    /// What to do.
    pub detail: &'static str,
}

/// Whether a letter may be replayed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::api) struct ReplayView {
    /// Without `force`.
    pub safe: bool,
    /// Why not, where it is not.
    pub because: Option<&'static str>,
}

/// A letter.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::api) struct LetterView {
    /// Its id: the message's own, unless it is an event's letter.
    pub id: Uuid,
    /// `attempts_exhausted` or `poison`.
    pub kind: &'static str,
    /// The message's campaign; none for a single message.
    pub campaign_id: Option<Uuid>,
    /// Who the message was for.
    pub recipient: Option<String>,
    /// The stored event that cannot be applied, where it is one.
    pub event_id: Option<Uuid>,
    /// Attempts of the message.
    pub attempts: i32,
    /// Meta's last error code; none if Meta did not answer.
    pub error_code: Option<i32>,
    /// The class of the last error.
    pub class: Option<&'static str>,
    /// What went wrong last.
    pub error: Option<String>,
    /// What to do about it.
    pub advice: &'static str,
    /// Whether it may be replayed.
    pub replay: ReplayView,
    /// Since when it is dead.
    #[schema(value_type = String, format = DateTime)]
    pub dead_since: Timestamp,
}

/// A letter with all that happened to it, and what a replay would do.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct LetterStory {
    /// The letter.
    #[serde(flatten)]
    pub letter: LetterView,
    /// What happened to the message, oldest first.
    pub timeline: Vec<HappeningView>,
    /// Replays and purges of it, oldest first.
    pub actions: Vec<PastActionView>,
    /// What `POST /v1/dead-letters/replay` with its id would do now.
    pub replay_would: &'static str,
}

/// What was done to a letter before.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct PastActionView {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// `replay` or `purge`.
    pub action: String,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Whether it was insisted on.
    pub forced: bool,
}

impl From<PastAction> for PastActionView {
    fn from(past: PastAction) -> Self {
        Self {
            at: past.at,
            action: past.action,
            by: past.by,
            reason: past.reason,
            forced: past.forced,
        }
    }
}

impl From<Letter> for LetterView {
    fn from(letter: Letter) -> Self {
        let because = match replay_of(letter.kind, letter.error_code) {
            Replay::Safe => None,
            Replay::Forced(because) => Some(because),
        };
        Self {
            id: letter.id,
            kind: letter.kind.as_str(),
            campaign_id: letter.campaign.map(Uuid::from),
            recipient: letter.recipient,
            event_id: letter.event.map(|event| event.0),
            attempts: letter.attempts,
            error_code: letter.error_code,
            class: class_of(letter.kind, letter.error_code).map(ErrorClass::as_str),
            error: letter.error,
            advice: advice_of(letter.kind, letter.error_code),
            replay: ReplayView {
                safe: because.is_none(),
                because,
            },
            dead_since: letter.dead_since,
        }
    }
}

/// Says why letters stay, leaving out what does not apply.
pub(in crate::api) fn reasons(done: &Done) -> Vec<Skipped> {
    let all = [
        (
            "unsafe_to_replay",
            done.unsafe_to_replay,
            "a repetition cannot help or may harm: read the letter's advice, then insist with force",
        ),
        (
            "campaign_cancelled",
            done.campaign_cancelled,
            "the campaign was cancelled: send to these recipients in a new one",
        ),
        ("gone", done.gone, "no dead letter of that id, or no longer"),
    ];
    let applies = all.into_iter().filter(|(_, letters, _)| *letters > 0);
    applies
        .map(|(code, letters, detail)| Skipped {
            code,
            letters,
            detail,
        })
        .collect()
}

/// Reads a filter.
///
/// # Errors
/// When a value of it makes no sense.
pub(in crate::api) fn filter_of(
    tenant: TenantId,
    campaign: Option<Uuid>,
    ids: Option<Vec<Uuid>>,
    class: Option<&str>,
    kind: Option<&str>,
) -> Result<LetterFilter, Refused> {
    let ids = ids.map(|mut ids| {
        ids.sort_unstable();
        ids.dedup();
        ids
    });
    if ids.as_ref().is_some_and(|ids| ids.len() > MOST_IDS) {
        return Err(Refused::invalid("ids", format!("at most {MOST_IDS}")));
    }
    let kind = kind.map(str::parse::<LetterKind>).transpose();
    Ok(LetterFilter {
        tenant: Some(tenant),
        campaign: campaign.map(CampaignId),
        ids,
        class: class.map(class_named).transpose()?,
        kind: kind.map_err(|_| Refused::invalid("kind", "attempts_exhausted or poison"))?,
    })
}

fn class_named(text: &str) -> Result<ErrorClass, Refused> {
    let found = ErrorClass::ALL.into_iter().find(|class| class.as_str() == text);
    found.ok_or_else(|| {
        let names = ErrorClass::ALL.map(ErrorClass::as_str);
        Refused::invalid("class", format!("one of {}", names.join(", ")))
    })
}

/// Reads the reason of an action; a purge needs one.
///
/// # Errors
/// When it is missing or too long.
pub(in crate::api) fn reason_of(reason: Option<String>, action: Action) -> Result<String, Refused> {
    let reason = reason.unwrap_or_default().trim().to_owned();
    if action == Action::Purge && reason.is_empty() {
        return Err(Refused::invalid(
            "reason",
            "say why: it is kept with the record of the purge",
        ));
    }
    if reason.chars().count() > REASON_LONGEST || reason.contains('\0') {
        return Err(Refused::invalid(
            "reason",
            format!("at most {REASON_LONGEST} characters"),
        ));
    }
    Ok(reason)
}
