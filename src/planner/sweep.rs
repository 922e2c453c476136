//! When to look for stored events that nobody applied, and where to go on: one walk through all of them, then a rest. While claims
//! stall, what is late is published once in a while and not at every look, which would bury the queues under repetitions.

use std::time::{Duration, Instant};

use crate::storage::late_events::Place;

/// Where the walk is, and when the next one begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sweep {
    begins: Instant,
    place: Option<Place>,
}

impl Sweep {
    /// The first walk begins at once.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            begins: now,
            place: None,
        }
    }

    /// Where to look now; none while the walks rest.
    pub(super) fn place(&self, now: Instant) -> Option<Place> {
        self.place.or_else(|| (self.begins <= now).then(Place::default))
    }

    /// Goes on behind what was found, or rests until `rest` after this walk's beginning.
    pub(super) fn found(&mut self, next: Option<Place>, rest: Duration, now: Instant) {
        if self.place.is_none() {
            self.begins = now + rest;
        }
        self.place = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: Duration = Duration::from_secs(60);

    #[test]
    fn a_walk_goes_on_where_it_was_and_then_rests() {
        let begun = Instant::now();
        let later = |seconds| begun + Duration::from_secs(seconds);
        let mut sweep = Sweep::new(begun);
        let place = sweep.place(begun).unwrap();
        assert_eq!(place, Place::default());
        sweep.found(Some(place), REST, begun);
        assert_eq!(
            sweep.place(later(1)),
            Some(place),
            "there is more, and it is looked for"
        );
        sweep.found(None, REST, later(1));
        assert_eq!(sweep.place(later(59)), None, "all was seen: rest");
        assert_eq!(
            sweep.place(later(60)),
            Some(Place::default()),
            "counted from the beginning"
        );
    }

    #[test]
    fn a_walk_longer_than_the_rest_is_followed_at_once() {
        let begun = Instant::now();
        let mut sweep = Sweep::new(begun);
        sweep.found(Some(Place::default()), REST, begun);
        sweep.found(None, REST, begun + 2 * REST);
        assert!(sweep.place(begun + 2 * REST).is_some());
    }
}
