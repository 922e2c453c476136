//! Turns the fault plan and the dice into the fate of one call.

use std::time::Duration;

use crate::catalog::GraphError;
use crate::config::{Config, WebhookLatency};
use crate::dice::{Dice, Question};
use crate::faults::Faults;
use crate::messages::Status;
use crate::webhooks::Event;

/// The 99th percentile of the standard normal distribution.
const NORMAL_P99: f64 = 2.326;

/// What becomes of a call that passed every check.
#[derive(Debug)]
pub(crate) enum Fate {
    /// Sent; with `lost`, the client never learns.
    Accepted { lost: bool },
    /// An error as JSON; nothing is sent.
    Refused(GraphError),
    /// A gateway's page; nothing is sent.
    Gateway,
}

/// Decides the fate of call number `attempt` (from 0) for `recipient`.
pub(crate) fn fate(faults: &Faults, dice: Dice, recipient: &str, attempt: u32) -> Fate {
    if attempt < faults.transient_first_attempts
        || dice.says(Question::TransientError, faults.transient_error_share)
    {
        return Fate::Refused(transient_error(dice));
    }
    if dice.says(Question::Refused, faults.refused_share) {
        let code = faults.refused_code.unwrap_or(131000);
        return Fate::Refused(GraphError::new(code, "Refused by the fault plan."));
    }
    if dice.says(Question::NonJson, faults.non_json_share) {
        return Fate::Gateway;
    }
    if faults.refused_recipients.contains(recipient) {
        return Fate::Refused(GraphError::new(131026, "Message Undeliverable."));
    }
    Fate::Accepted {
        lost: dice.says(Question::LostAnswer, faults.lost_answer_share),
    }
}

fn transient_error(dice: Dice) -> GraphError {
    match dice.throw(Question::TransientCode) {
        low if low < 0.4 => GraphError::new(131000, "Message failed to send due to an unknown error."),
        low if low < 0.7 => GraphError::new(131016, "A service is temporarily unavailable."),
        _ => GraphError::new(2, "Temporary due to downtime or due to being overloaded."),
    }
}

/// How long the answer takes: log-normal through the median and the 99th percentile.
pub(crate) fn answer_delay(faults: &Faults, dice: Dice) -> Duration {
    let (median, p99) = (faults.answer_delay_ms as f64, faults.answer_delay_p99_ms as f64);
    let tail = if median > 0.0 && p99 > median {
        (p99 / median).ln() / NORMAL_P99
    } else {
        0.0
    };
    let delay_ms = median * (tail * normal(dice)).exp();
    Duration::from_secs_f64(delay_ms.max(faults.answer_delay_min_ms as f64) / 1_000.0)
}

/// A standard normal number, by Box and Muller.
fn normal(dice: Dice) -> f64 {
    let radius = (-2.0 * (1.0 - dice.throw(Question::AnswerDelay)).ln()).sqrt();
    radius * (std::f64::consts::TAU * dice.throw(Question::AnswerDelayAngle)).cos()
}

/// The error code of a message that is to fail after acceptance.
pub(crate) fn failure(faults: &Faults, dice: Dice) -> Option<u32> {
    dice.says(Question::Failed, faults.failed_share)
        .then(|| faults.failed_code.unwrap_or(131026))
}

/// The statuses of message `message`, accepted at `now_ms`, as webhooks to send.
pub(crate) fn events(
    config: &Config,
    faults: &Faults,
    dice: Dice,
    message: u32,
    now_ms: u64,
    fails: bool,
) -> Vec<Event> {
    let latency = &config.webhook_latency;
    let at = |after: Duration, question| now_ms + jittered(latency, after, dice.throw(question));
    let sent_ms = at(latency.sent, Question::LatencySent);
    if fails {
        return with_faults(faults, dice, vec![Event::new(message, Status::Failed, sent_ms)]);
    }
    let delivered_ms = at(latency.delivered, Question::LatencyDelivered).max(sent_ms);
    let read = dice.says(Question::Read, config.read_share);
    let silent = read
        && dice.says(
            Question::ReadWithoutDelivered,
            faults.read_without_delivered_share,
        );
    let mut events = vec![Event::new(message, Status::Sent, sent_ms)];
    if !silent {
        events.push(Event::new(message, Status::Delivered, delivered_ms));
        if dice.says(Question::Reordered, faults.reordered_webhook_share) {
            events[0].postponed_ms = 2 * (delivered_ms - sent_ms).max(25);
        }
    }
    if read {
        let read_ms = at(latency.read, Question::LatencyRead).max(delivered_ms);
        events.push(Event::new(message, Status::Read, read_ms).implying_delivered(silent));
    }
    with_faults(faults, dice, events)
}

/// Makes statuses late, alone in their request, or twofold.
fn with_faults(faults: &Faults, dice: Dice, mut events: Vec<Event>) -> Vec<Event> {
    for place in 0..events.len() {
        let event = &mut events[place];
        let status = event.status as u8;
        event.alone = dice.says(Question::Split(status), faults.split_webhook_share);
        if dice.says(Question::Late(status), faults.late_webhook_share) {
            event.postponed_ms += faults.late_webhook_ms.unwrap_or(1_000);
            event.late = true;
        }
        if dice.says(Question::Duplicated(status), faults.duplicated_webhook_share) {
            let mut copy = event.clone();
            copy.due_ms += faults.duplicated_webhook_after_ms.unwrap_or(50);
            copy.duplicate = true;
            events.push(copy);
        }
    }
    events
}

fn jittered(latency: &WebhookLatency, after: Duration, throw: f64) -> u64 {
    let factor = 1.0 + latency.jitter * (2.0 * throw - 1.0);
    (after.as_secs_f64() * 1_000.0 * factor).max(0.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dice(n: u32) -> Dice {
        Dice::new(3, &format!("1650{n:07}"), 0)
    }

    #[test]
    fn answer_delays_follow_their_median_and_tail() {
        let faults = Faults {
            answer_delay_min_ms: 20,
            answer_delay_ms: 100,
            answer_delay_p99_ms: 1_000,
            ..Faults::default()
        };
        let mut delays: Vec<_> = (0..10_000)
            .map(|n| answer_delay(&faults, dice(n)).as_millis())
            .collect();
        delays.sort_unstable();
        assert!(
            delays[0] >= 20 && (90..110).contains(&delays[5_000]),
            "{} {}",
            delays[0],
            delays[5_000]
        );
        assert!((800..1_200).contains(&delays[9_900]), "{}", delays[9_900]);
        assert_eq!(answer_delay(&Faults::default(), dice(1)), Duration::ZERO);
    }

    #[test]
    fn the_first_attempts_fail_and_the_next_is_accepted() {
        let faults = Faults {
            transient_first_attempts: 2,
            ..Faults::default()
        };
        let fates: Vec<_> = (0..3).map(|n| fate(&faults, dice(n), "1", n)).collect();
        assert!(matches!(
            fates[..],
            [Fate::Refused(_), Fate::Refused(_), Fate::Accepted { lost: false }]
        ));
    }

    #[test]
    fn a_reordered_message_is_delivered_before_it_is_sent() {
        let faults = Faults {
            reordered_webhook_share: 1.0,
            ..Faults::default()
        };
        let events = events(
            &Config {
                read_share: 0.0,
                ..Config::for_tests()
            },
            &faults,
            dice(1),
            0,
            100,
            false,
        );
        let told_ms = |status| {
            let event = events
                .iter()
                .find(|event| event.status == status)
                .expect("planned");
            event.due_ms + event.postponed_ms
        };
        assert!(told_ms(Status::Delivered) < told_ms(Status::Sent));
    }

    #[test]
    fn a_duplicate_keeps_the_time_of_the_event() {
        let faults = Faults {
            duplicated_webhook_share: 1.0,
            ..Faults::default()
        };
        let events = events(&Config::for_tests(), &faults, dice(1), 0, 100, true);
        let [first, second] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(
            (first.occurred_ms, second.due_ms),
            (second.occurred_ms, first.due_ms + 50)
        );
        assert!(second.duplicate && !first.duplicate);
    }
}
