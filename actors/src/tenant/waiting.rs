//! The messages of one number that wait for permits: single messages before campaigns.

use std::collections::VecDeque;
use std::time::Duration;

use domain::message::Lane;
use tokio::time::Instant;

use crate::tenant::receipt::Item;

/// What waits for one number's permits.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    fast: VecDeque<Item>,
    bulk: VecDeque<Item>,
    /// Since when a lease is asked for.
    pub(crate) asked: Option<Instant>,
    /// Permits granted and not yet used.
    pub(crate) permits: usize,
}

impl Waiting {
    pub(crate) fn push(&mut self, lane: Lane, item: Item) {
        match lane {
            Lane::Fast => self.fast.push_back(item),
            Lane::Bulk => self.bulk.push_back(item),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.fast.len() + self.bulk.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the next ones, the fast lane first.
    pub(crate) fn take(&mut self, most: usize) -> Vec<Item> {
        let fast = most.min(self.fast.len());
        let bulk = (most - fast).min(self.bulk.len());
        self.fast.drain(..fast).chain(self.bulk.drain(..bulk)).collect()
    }

    /// Takes those that have waited longer than `longest`.
    pub(crate) fn take_older(&mut self, longest: Duration) -> Vec<Item> {
        let mut old = Vec::new();
        for lane in [&mut self.fast, &mut self.bulk] {
            let count = lane
                .iter()
                .take_while(|item| item.since.elapsed() >= longest)
                .count();
            old.extend(lane.drain(..count));
        }
        old
    }
}
