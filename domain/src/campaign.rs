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
        /// Too much of the canary failed.
        CanaryFailed = "canary_failed",
        /// The canary went well, and somebody wanted to look before the rest goes.
        CanaryPassed = "canary_passed",
        /// Meta refused too many of its messages as malformed.
        MessagesMalformed = "messages_malformed",
    }
}

impl PauseReason {
    /// Tells whether evidence alone may end the pause. The others wait for a person.
    pub const fn ends_by_itself(self) -> bool {
        match self {
            Self::PlanBlocked
            | Self::TemplatePaused
            | Self::NumberHold
            | Self::TokenInvalid
            | Self::Quarantined => true,
            Self::Manual | Self::CanaryFailed | Self::CanaryPassed | Self::MessagesMalformed => false,
        }
    }

    /// Says in one sentence what ends the pause.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Manual => "Somebody paused it: resume it when it should go on.",
            Self::PlanBlocked => {
                "The plan's limit is reached: it goes on by itself with a larger plan, the next period, or when units become free."
            }
            Self::TemplatePaused => {
                "Meta does not send this template now: it goes on by itself when Meta approves the template again."
            }
            Self::NumberHold => {
                "Meta restricts the number: it is tried again by itself after a while, or when Meta lifts the restriction."
            }
            Self::TokenInvalid => {
                "Meta refuses the access token or the account: it goes on by itself when the sender gets a new token."
            }
            Self::Quarantined => {
                "The tenant's engine kept failing: it is tried again after a while, or when an operator releases it."
            }
            Self::CanaryFailed => {
                "Too much of the canary failed: look at the failures, then resume or cancel."
            }
            Self::CanaryPassed => "The canary went well: resume it to send the rest.",
            Self::MessagesMalformed => {
                "Meta refused many messages as malformed: compare the template's parameters with the file's columns, then resume or cancel."
            }
        }
    }
}

/// A campaign's state with the reason that belongs to it. Only a paused campaign has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Where it is.
    pub state: CampaignState,
    /// Why it is paused.
    pub reason: Option<PauseReason>,
}

/// Why a campaign cannot be moved as asked. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct TransitionRefused {
    /// Where the campaign is.
    pub state: CampaignState,
    /// What to tell whoever asked.
    pub sentence: &'static str,
}

impl Standing {
    /// A campaign that still takes recipients.
    pub const DRAFT: Self = Self::of(CampaignState::Draft);

    const fn of(state: CampaignState) -> Self {
        Self { state, reason: None }
    }

    const fn paused(reason: PauseReason) -> Self {
        Self {
            state: CampaignState::Paused,
            reason: Some(reason),
        }
    }

    /// Launches: at once, or `later`, when its time comes. A running campaign stays running.
    ///
    /// # Errors
    /// When it is over, or paused.
    pub const fn launch(self, later: bool) -> Result<Self, TransitionRefused> {
        use CampaignState as State;
        match self.state {
            State::Draft | State::Scheduled if later => Ok(Self::of(State::Scheduled)),
            State::Draft | State::Scheduled | State::Running => Ok(Self::of(State::Running)),
            State::Paused => self.refuse("the campaign is paused: resume it"),
            State::Finished => self.refuse("the campaign has finished: create a new one"),
            State::Cancelled => self.refuse("the campaign was cancelled: create a new one"),
        }
    }

    /// Pauses. A pause by hand replaces any other reason, since only a hand ends it; no other reason replaces one.
    ///
    /// # Errors
    /// When it does not run.
    pub const fn pause(self, why: PauseReason) -> Result<Self, TransitionRefused> {
        use CampaignState as State;
        match self.state {
            State::Running => Ok(Self::paused(why)),
            State::Paused if matches!(why, PauseReason::Manual) => Ok(Self::paused(why)),
            State::Paused => Ok(self),
            State::Draft => self.refuse("the campaign is not launched yet"),
            State::Scheduled => self.refuse("the campaign has not started yet: cancel it, or wait"),
            State::Finished => self.refuse("the campaign has finished"),
            State::Cancelled => self.refuse("the campaign was cancelled"),
        }
    }

    /// Goes on after a pause, whatever its reason. A running campaign stays running.
    ///
    /// # Errors
    /// When it is neither paused nor running.
    pub const fn resume(self) -> Result<Self, TransitionRefused> {
        use CampaignState as State;
        match self.state {
            State::Running | State::Paused => Ok(Self::of(State::Running)),
            State::Draft => self.refuse("the campaign is not launched yet: launch it"),
            State::Scheduled => self.refuse("the campaign has not started yet: launch it, or wait"),
            State::Finished => self.refuse("the campaign has finished"),
            State::Cancelled => self.refuse("the campaign was cancelled and cannot go on"),
        }
    }

    /// Goes on because what paused it is over. Only the very reason that is over resumes: a pause by hand, or for anything
    /// else, stays.
    pub const fn resume_after(self, over: PauseReason) -> Self {
        match self.reason {
            Some(reason) if reason as u8 == over as u8 && reason.ends_by_itself() => {
                Self::of(CampaignState::Running)
            }
            _ => self,
        }
    }

    /// Ends it early. A cancelled campaign stays cancelled.
    ///
    /// # Errors
    /// When it has finished.
    pub const fn cancel(self) -> Result<Self, TransitionRefused> {
        match self.state {
            CampaignState::Finished => self.refuse("the campaign has finished: there is nothing to cancel"),
            _ => Ok(Self::of(CampaignState::Cancelled)),
        }
    }

    /// Ends it because nothing is left to send. A finished campaign stays finished.
    ///
    /// # Errors
    /// When it was never launched, or is cancelled.
    pub const fn finish(self) -> Result<Self, TransitionRefused> {
        use CampaignState as State;
        match self.state {
            State::Running | State::Paused | State::Finished => Ok(Self::of(State::Finished)),
            State::Draft | State::Scheduled => self.refuse("the campaign is not launched yet"),
            State::Cancelled => self.refuse("the campaign was cancelled"),
        }
    }

    /// Takes messages back that had ended: a finished campaign runs again, a running or paused one stays as it is.
    ///
    /// # Errors
    /// When it was never launched, or is cancelled.
    pub const fn reopen(self) -> Result<Self, TransitionRefused> {
        use CampaignState as State;
        match self.state {
            State::Finished => Ok(Self::of(State::Running)),
            State::Running | State::Paused => Ok(self),
            State::Draft | State::Scheduled => self.refuse("the campaign is not launched yet"),
            State::Cancelled => self.refuse("the campaign was cancelled: its messages cannot be replayed"),
        }
    }

    const fn refuse(self, sentence: &'static str) -> Result<Self, TransitionRefused> {
        Err(TransitionRefused {
            state: self.state,
            sentence,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_standing() -> Vec<Standing> {
        let paused = PauseReason::ALL.iter().map(|&reason| Standing::paused(reason));
        let others = CampaignState::ALL
            .iter()
            .filter(|&&state| state != CampaignState::Paused)
            .map(|&state| Standing::of(state));
        others.chain(paused).collect()
    }

    fn moves(standing: Standing) -> Vec<Result<Standing, TransitionRefused>> {
        vec![
            standing.launch(true),
            standing.launch(false),
            standing.pause(PauseReason::Manual),
            standing.pause(PauseReason::PlanBlocked),
            standing.resume(),
            standing.cancel(),
            standing.finish(),
            standing.reopen(),
        ]
    }

    #[test]
    fn a_reason_stands_beside_a_pause_and_nowhere_else() {
        for next in every_standing().into_iter().flat_map(moves).flatten() {
            assert_eq!(
                next.state == CampaignState::Paused,
                next.reason.is_some(),
                "{next:?}"
            );
        }
    }

    #[test]
    fn saying_it_twice_changes_nothing_more() {
        for standing in every_standing() {
            for (number, next) in moves(standing).into_iter().enumerate() {
                let Ok(next) = next else { continue };
                assert_eq!(moves(next)[number], Ok(next), "move {number} of {standing:?}");
            }
        }
    }

    #[test]
    fn what_is_cancelled_never_sends_again() {
        let cancelled = Standing::of(CampaignState::Cancelled);
        assert_eq!(cancelled.cancel(), Ok(cancelled));
        assert!(cancelled.launch(false).is_err());
        assert!(cancelled.resume().is_err());
        assert!(cancelled.reopen().is_err());
    }

    #[test]
    fn good_news_ends_only_the_pause_that_it_is_about() {
        let running = Standing::of(CampaignState::Running);
        for &reason in PauseReason::ALL {
            for &over in PauseReason::ALL {
                let next = Standing::paused(reason).resume_after(over);
                let ends = reason == over && reason.ends_by_itself();
                assert_eq!(next == running, ends, "{reason} after {over}");
            }
        }
        assert_eq!(
            Standing::paused(PauseReason::Manual)
                .resume_after(PauseReason::Manual)
                .state,
            CampaignState::Paused
        );
        assert_eq!(
            Standing::DRAFT.resume_after(PauseReason::PlanBlocked),
            Standing::DRAFT
        );
    }

    #[test]
    fn a_hand_decides_over_every_other_reason() {
        let blocked = Standing::paused(PauseReason::PlanBlocked);
        let manual = Standing::paused(PauseReason::Manual);
        assert_eq!(blocked.pause(PauseReason::Manual), Ok(manual));
        assert_eq!(manual.pause(PauseReason::PlanBlocked), Ok(manual));
    }

    #[test]
    fn a_replay_wakes_a_finished_campaign_and_not_a_paused_one() {
        let running = Standing::of(CampaignState::Running);
        let paused = Standing::paused(PauseReason::TemplatePaused);
        assert_eq!(Standing::of(CampaignState::Finished).reopen(), Ok(running));
        assert_eq!(paused.reopen(), Ok(paused));
    }
}
