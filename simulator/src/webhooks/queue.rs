//! The heap of events, and how they leave it: due ones first, a batch at a time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::webhooks::event::Event;

/// Every event that is to be sent, earliest first.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<Event>>,
    in_flight: usize,
}

impl Queue {
    /// Adds an event. True if it is now the next one, so that the dispatcher must wake.
    pub(crate) fn push(&mut self, event: Event) -> bool {
        let is_next = self.next_due_ms().is_none_or(|due_ms| event.due_ms < due_ms);
        self.heap.push(Reverse(event));
        is_next
    }

    /// When the next event is due.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(event)| event.due_ms)
    }

    /// Takes up to `most` due events for one request. They count as in flight until settled.
    pub(crate) fn take_due(&mut self, now_ms: u64, most: usize) -> Vec<Event> {
        let mut taken: Vec<Event> = Vec::new();
        while let Some(Reverse(next)) = self.heap.peek() {
            let fits = taken.is_empty() || (taken.len() < most && !next.alone && !taken[0].alone);
            if next.due_ms > now_ms || !fits {
                break;
            }
            taken.extend(self.heap.pop().map(|Reverse(event)| event));
        }
        self.in_flight += taken.len();
        taken
    }

    /// Counts events out of flight, whether they were acknowledged, dropped or put back.
    pub(crate) fn settle(&mut self, count: usize) {
        self.in_flight = self.in_flight.saturating_sub(count);
    }

    /// Events waiting or in flight.
    pub(crate) fn pending(&self) -> usize {
        self.heap.len() + self.in_flight
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Status;

    fn event(message: u32, due_ms: u64) -> Event {
        Event::new(message, Status::Sent, due_ms)
    }

    #[test]
    fn due_events_leave_in_batches_and_lonely_ones_alone() {
        let mut queue = Queue::default();
        for message in 0..3 {
            queue.push(event(message, 10));
        }
        queue.push(Event {
            alone: true,
            ..event(3, 10)
        });
        queue.push(event(4, 99));
        let sizes: Vec<_> = (0..4).map(|_| queue.take_due(10, 2).len()).collect();
        assert_eq!(sizes, [2, 1, 1, 0]);
        assert_eq!(queue.pending(), 5);
        queue.settle(4);
        assert_eq!((queue.pending(), queue.next_due_ms()), (1, Some(99)));
    }
}
