//! Why a campaign is as fast as it is, and when it will arrive: from what is known of its number, plan, window and canary.

use jiff::Timestamp;

use crate::campaign::{CampaignState, PauseReason, Standing};
use crate::canary::CanaryState;
use crate::named::named_states;

/// The share of the rate that should be possible, below which the pipeline itself is called the limit.
const HELD_UP_BELOW: f64 = 0.6;
/// The share of a number's rate, below which it is called slowed down.
const SLOWED_BELOW: f64 = 0.95;

named_states! {
    /// What keeps a campaign from being faster.
    BindingLimit, UnknownBindingLimit {
        /// It waits for its time.
        Scheduled = "scheduled",
        /// It is paused; the campaign's reason says why.
        Paused = "paused",
        /// The plan's limit is reached.
        PlanAllowance = "plan_allowance",
        /// Only its canary may leave.
        Canary = "canary",
        /// Its sending window is closed for all that is left.
        Window = "window",
        /// Meta does not answer, so nothing is tried.
        MetaDown = "meta_down",
        /// The unique recipients of 24 hours are used up.
        Portfolio = "portfolio",
        /// All that is left waits for its next attempt.
        RetryDelay = "retry_delay",
        /// Meta throttled the number, which is climbing back to its rate.
        AdaptiveRate = "adaptive_rate",
        /// The plan's own rate.
        PlanRate = "plan_rate",
        /// The number's rate at Meta.
        NumberRate = "number_rate",
        /// Less leaves than the limits allow: the pipeline is held up.
        Backlog = "backlog",
    }
}

/// What is known of a campaign that is not over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Situation {
    /// Where it is.
    pub standing: Standing,
    /// Its canary, if it has one.
    pub canary: Option<CanaryState>,
    /// Until when its window is closed for all that is due; none while it is open for something.
    pub closed_until: Option<Timestamp>,
    /// When the next message is due, if none is before.
    pub next_due: Option<Timestamp>,
    /// Until when nothing is tried because Meta does not answer.
    pub meta_down_until: Option<Timestamp>,
    /// Whether the unique recipients of 24 hours are used up.
    pub is_portfolio_full: bool,
    /// The number's rate at Meta, messages a second.
    pub number_rate: f64,
    /// What the number's limiter allows now, if it is known.
    pub adaptive_rate: Option<f64>,
    /// The plan's own rate.
    pub plan_rate: Option<f64>,
    /// Running campaigns that share the number, this one included.
    pub sharing: i64,
    /// What left in the last minute, messages a second; none while that is not known.
    pub measured: Option<f64>,
}

/// What binds, and what that means for the time of arrival.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// What keeps it from being faster.
    pub limit: BindingLimit,
    /// The same in a sentence or two.
    pub sentence: String,
    /// The rate from which a time of arrival follows; none when there is no honest one.
    pub rate: Option<f64>,
}

/// Explains a campaign's pace; none when it is a draft or over.
pub fn explain(situation: &Situation) -> Option<Explanation> {
    match situation.standing.state {
        CampaignState::Draft | CampaignState::Finished | CampaignState::Cancelled => None,
        CampaignState::Scheduled => Some(Explanation {
            limit: BindingLimit::Scheduled,
            sentence: "It starts by itself at its time.".to_owned(),
            rate: Some(possible(situation)),
        }),
        CampaignState::Paused => Some(paused(situation.standing.reason)),
        CampaignState::Running => Some(running(situation)),
    }
}

fn paused(reason: Option<PauseReason>) -> Explanation {
    let limit = match reason {
        Some(PauseReason::PlanBlocked) => BindingLimit::PlanAllowance,
        _ => BindingLimit::Paused,
    };
    Explanation {
        limit,
        sentence: reason.map_or("It is paused.", PauseReason::advice).to_owned(),
        rate: None,
    }
}

/// The rate that the limits allow this campaign.
fn possible(situation: &Situation) -> f64 {
    let number = situation
        .adaptive_rate
        .unwrap_or(situation.number_rate)
        .min(situation.number_rate);
    let whole = number.min(situation.plan_rate.unwrap_or(f64::INFINITY));
    whole / situation.sharing.max(1) as f64
}

fn running(situation: &Situation) -> Explanation {
    let rate = match situation.measured {
        Some(measured) if measured > 0.0 => measured,
        _ => possible(situation),
    };
    let (limit, sentence) = waiting(situation).unwrap_or_else(|| pace(situation));
    let rate = match limit {
        BindingLimit::Canary | BindingLimit::MetaDown | BindingLimit::Portfolio => None,
        BindingLimit::Window | BindingLimit::RetryDelay => Some(possible(situation)),
        _ => Some(rate),
    };
    Explanation {
        limit,
        sentence,
        rate,
    }
}

/// What it waits for, if it does not leave at all.
fn waiting(situation: &Situation) -> Option<(BindingLimit, String)> {
    if situation.canary.is_some_and(CanaryState::is_open) {
        let sentence =
            "Only the canary leaves until it is decided; then the rest follows, or the campaign pauses.";
        return Some((BindingLimit::Canary, sentence.to_owned()));
    }
    if let Some(until) = situation.closed_until {
        let sentence =
            format!("The sending window is closed for everybody who is left; it opens at {until}.");
        return Some((BindingLimit::Window, sentence));
    }
    if let Some(until) = situation.meta_down_until {
        let sentence =
            format!("Meta does not answer; nothing is tried before {until}, and no attempt is lost.");
        return Some((BindingLimit::MetaDown, sentence));
    }
    if situation.is_portfolio_full {
        let sentence = "The portfolio's limit of unique recipients in 24 hours is reached; it goes on as older ones fall out.";
        return Some((BindingLimit::Portfolio, sentence.to_owned()));
    }
    let until = situation.next_due?;
    let sentence = format!("All that is left waits for its next attempt; the first is due at {until}.");
    Some((BindingLimit::RetryDelay, sentence))
}

fn pace(situation: &Situation) -> (BindingLimit, String) {
    let (number, possible) = (situation.number_rate, possible(situation));
    let sharing = match situation.sharing {
        others @ 2.. => format!(" It is shared with {} other running campaigns.", others - 1),
        _ => String::new(),
    };
    if let Some(measured) = situation
        .measured
        .filter(|measured| *measured < possible * HELD_UP_BELOW)
    {
        let sentence = format!(
            "{measured:.1} messages a second leave where {possible:.1} would be allowed: the pipeline is held up, or it has just begun or is about to end.{sharing}"
        );
        return (BindingLimit::Backlog, sentence);
    }
    let plan = situation.plan_rate.unwrap_or(f64::INFINITY);
    match situation.adaptive_rate {
        Some(adaptive) if adaptive < number * SLOWED_BELOW && adaptive <= plan => (
            BindingLimit::AdaptiveRate,
            format!(
                "Meta throttled the number: it sends {adaptive:.1} of its {number:.0} messages a second and climbs back.{sharing}"
            ),
        ),
        _ if plan < number => (
            BindingLimit::PlanRate,
            format!(
                "The plan allows {plan:.0} messages a second; the number could send {number:.0}.{sharing}"
            ),
        ),
        _ => (
            BindingLimit::NumberRate,
            format!("The number sends all of its {number:.0} messages a second.{sharing}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNNING: Standing = Standing {
        state: CampaignState::Running,
        reason: None,
    };

    fn situation() -> Situation {
        Situation {
            standing: RUNNING,
            canary: None,
            closed_until: None,
            next_due: None,
            meta_down_until: None,
            is_portfolio_full: false,
            number_rate: 80.0,
            adaptive_rate: Some(80.0),
            plan_rate: None,
            sharing: 1,
            measured: Some(79.0),
        }
    }

    fn explained(situation: Situation) -> (BindingLimit, Option<f64>) {
        let explanation = explain(&situation).expect("it is not over");
        assert!(explanation.sentence.ends_with('.'), "{}", explanation.sentence);
        (explanation.limit, explanation.rate)
    }

    #[test]
    fn the_lowest_rate_binds() {
        assert_eq!(explained(situation()), (BindingLimit::NumberRate, Some(79.0)));
        let slowed = Situation {
            adaptive_rate: Some(20.0),
            measured: Some(19.0),
            ..situation()
        };
        assert_eq!(explained(slowed), (BindingLimit::AdaptiveRate, Some(19.0)));
        let cheap = Situation {
            plan_rate: Some(10.0),
            measured: Some(9.9),
            ..situation()
        };
        assert_eq!(explained(cheap), (BindingLimit::PlanRate, Some(9.9)));
        let slowest = Situation {
            plan_rate: Some(10.0),
            adaptive_rate: Some(20.0),
            measured: None,
            ..situation()
        };
        assert_eq!(explained(slowest), (BindingLimit::PlanRate, Some(10.0)));
    }

    #[test]
    fn less_than_the_limits_allow_is_a_backlog_and_a_share_is_not() {
        let held_up = Situation {
            measured: Some(30.0),
            ..situation()
        };
        assert_eq!(explained(held_up), (BindingLimit::Backlog, Some(30.0)));
        let shared = Situation {
            measured: Some(39.0),
            sharing: 2,
            ..situation()
        };
        assert_eq!(explained(shared), (BindingLimit::NumberRate, Some(39.0)));
    }

    #[test]
    fn what_does_not_leave_says_what_it_waits_for() {
        let later = Some(Timestamp::UNIX_EPOCH);
        let of = |change: fn(&mut Situation)| {
            let mut changed = situation();
            change(&mut changed);
            explained(changed)
        };
        assert_eq!(
            of(|it| it.canary = Some(CanaryState::Holding)),
            (BindingLimit::Canary, None)
        );
        assert_eq!(
            of(|it| it.is_portfolio_full = true),
            (BindingLimit::Portfolio, None)
        );
        assert_eq!(
            of(|it| it.canary = Some(CanaryState::Passed)).0,
            BindingLimit::NumberRate
        );
        let closed = Situation {
            closed_until: later,
            ..situation()
        };
        assert_eq!(explained(closed), (BindingLimit::Window, Some(80.0)));
        let down = Situation {
            meta_down_until: later,
            ..situation()
        };
        assert_eq!(explained(down), (BindingLimit::MetaDown, None));
        let retries = Situation {
            next_due: later,
            ..situation()
        };
        assert_eq!(explained(retries).0, BindingLimit::RetryDelay);
    }

    #[test]
    fn a_pause_has_no_time_of_arrival_and_its_reason_advises() {
        for &reason in PauseReason::ALL {
            let standing = Standing {
                state: CampaignState::Paused,
                reason: Some(reason),
            };
            let explanation = explain(&Situation {
                standing,
                ..situation()
            })
            .expect("it is not over");
            assert_eq!(explanation.rate, None);
            assert_eq!(explanation.sentence, reason.advice());
            assert_eq!(
                explanation.limit == BindingLimit::PlanAllowance,
                reason == PauseReason::PlanBlocked
            );
        }
    }

    #[test]
    fn what_is_over_needs_no_explanation() {
        let over = Standing {
            state: CampaignState::Finished,
            reason: None,
        };
        assert_eq!(
            explain(&Situation {
                standing: over,
                ..situation()
            }),
            None
        );
    }
}
