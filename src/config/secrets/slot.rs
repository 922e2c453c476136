//! What is known of one secret: the value that works, the one that is offered instead, and the one before. Pure.

use std::time::{Duration, Instant, SystemTime};

use super::Secret;

/// The values of one secret.
#[derive(Debug)]
pub(super) struct Slot {
    current: Secret,
    offered: Option<Secret>,
    previous: Option<(Secret, Instant)>,
    /// When the current value was taken.
    pub(super) since: SystemTime,
}

impl Slot {
    pub(super) fn new(current: Secret, since: SystemTime) -> Self {
        Self {
            current,
            offered: None,
            previous: None,
            since,
        }
    }

    pub(super) fn current(&self) -> Secret {
        self.current.clone()
    }

    /// Notes what the source says now, and gives it if it is another value than the current one.
    pub(super) fn offer(&mut self, found: Secret) -> Option<Secret> {
        self.offered = (found != self.current).then_some(found);
        self.offered.clone()
    }

    /// The values to try in turn where one of them must open a door of somebody else: what worked last, then what is offered.
    pub(super) fn to_try(&self) -> Vec<Secret> {
        [Some(&self.current), self.offered.as_ref()]
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// The values to accept of those who come to our door: the current one, and the one before it for a while.
    pub(super) fn accepted(&self, now: Instant, previous_for: Duration) -> Vec<Secret> {
        let previous = self
            .previous
            .as_ref()
            .filter(|(_, until)| now.saturating_duration_since(*until) < previous_for)
            .map(|(secret, _)| secret);
        [Some(&self.current), previous]
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// Takes a value that works. Tells whether it is a new one.
    pub(super) fn take(&mut self, value: &Secret, now: Instant, time: SystemTime) -> bool {
        if *value == self.current {
            return false;
        }
        let before = std::mem::replace(&mut self.current, value.clone());
        self.previous = Some((before, now));
        self.offered = None;
        self.since = time;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    fn texts(secrets: &[Secret]) -> Vec<&str> {
        secrets.iter().map(Secret::expose).collect()
    }

    #[test]
    fn an_offered_value_is_tried_after_the_one_that_works_and_taken_when_it_does() {
        let mut slot = Slot::new(secret("old"), SystemTime::UNIX_EPOCH);
        assert!(slot.offer(secret("old")).is_none());
        assert!(slot.offer(secret("new")).is_some());
        assert_eq!(texts(&slot.to_try()), ["old", "new"]);
        assert!(slot.take(&secret("new"), Instant::now(), SystemTime::UNIX_EPOCH));
        assert_eq!(texts(&slot.to_try()), ["new"]);
        assert!(!slot.take(&secret("new"), Instant::now(), SystemTime::UNIX_EPOCH));
    }

    #[test]
    fn an_offer_that_is_withdrawn_is_forgotten() {
        let mut slot = Slot::new(secret("good"), SystemTime::UNIX_EPOCH);
        slot.offer(secret("mistyped"));
        slot.offer(secret("good"));
        assert_eq!(texts(&slot.to_try()), ["good"]);
    }

    #[test]
    fn the_value_before_is_accepted_for_a_while() {
        let (mut slot, now) = (Slot::new(secret("old"), SystemTime::UNIX_EPOCH), Instant::now());
        slot.take(&secret("new"), now, SystemTime::UNIX_EPOCH);
        let ten = Duration::from_secs(10);
        assert_eq!(
            texts(&slot.accepted(now + Duration::from_secs(9), ten)),
            ["new", "old"]
        );
        assert_eq!(texts(&slot.accepted(now + ten, ten)), ["new"]);
    }

    #[test]
    fn a_secret_shows_nothing() {
        let slot = Slot::new(secret("hunter2"), SystemTime::UNIX_EPOCH);
        assert!(!format!("{slot:?}").contains("hunter2"), "{slot:?}");
    }
}
