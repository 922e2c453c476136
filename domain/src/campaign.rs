//! The life of a campaign: its states and the reasons for which it pauses.

use crate::named::named_states;

named_states! {
    /// Where a campaign is.
    CampaignState, UnknownCampaignState {
        /// Recipients may still be added.
        Draft = "draft",
        /// Launches by itself at `schedule_at`.
        Scheduled = "scheduled",
        /// Sends.
        Running = "running",
        /// Holds what is not yet claimed, for a reason.
        Paused = "paused",
        /// Nothing is left to send; late statuses may still arrive.
        Finished = "finished",
        /// Ended early; what was not claimed is `cancelled`.
        Cancelled = "cancelled",
    }
}

named_states! {
    /// Why a campaign is paused.
    PauseReason, UnknownPauseReason {
        /// Somebody asked for it.
        Manual = "manual",
        /// The plan's limit is reached.
        PlanBlocked = "plan_blocked",
        /// Meta paused or disabled the template.
        TemplatePaused = "template_paused",
        /// Meta restricts the number.
        NumberHold = "number_hold",
        /// Meta refuses the access token.
        TokenInvalid = "token_invalid",
        /// The tenant's actors kept failing.
        Quarantined = "quarantined",
    }
}
