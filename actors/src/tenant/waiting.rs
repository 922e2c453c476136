//! The messages of one number that wait for permits: single messages before campaigns, and campaigns in turns.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use domain::ids::CampaignId;
use domain::message::Lane;
use tokio::time::Instant;

use crate::tenant::receipt::Item;

/// What waits for one number's permits.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    fast: VecDeque<Item>,
    bulk: Turns,
    /// The lease that is asked for.
    pub(crate) asked: Option<Asked>,
    /// Permits granted and not yet used.
    pub(crate) permits: usize,
}

/// A lease that is asked for and not granted yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// Since when.
    pub(crate) since: Instant,
    /// Whether the very next permit is wanted.
    pub(crate) urgent: bool,
}

/// How many messages may begin their attempt now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// In all.
    pub(crate) all: usize,
    /// Of campaigns.
    pub(crate) bulk: usize,
}

impl Waiting {
    pub(crate) fn push(&mut self, lane: Lane, campaign: Option<CampaignId>, item: Item) {
        match lane {
            Lane::Fast => self.fast.push_back(item),
            Lane::Bulk => self.bulk.push(campaign, item),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells whether single messages wait.
    pub(crate) fn is_urgent(&self) -> bool {
        !self.fast.is_empty()
    }

    /// Tells how many wait.
    pub(crate) fn len(&self) -> usize {
        self.fast.len() + self.bulk.len
    }

    /// Tells how many could begin if there were permits.
    pub(crate) fn ready(&self, room: Room) -> usize {
        let fast = self.fast.len().min(room.all);
        fast + self.bulk.len.min(room.bulk).min(room.all - fast)
    }

    /// Takes the next ones, the fast lane first.
    pub(crate) fn take(&mut self, most: usize, room: Room) -> Vec<Item> {
        let most = most.min(room.all);
        let fast = most.min(self.fast.len());
        let bulk = (most - fast).min(room.bulk);
        let mut taken: Vec<_> = self.fast.drain(..fast).collect();
        taken.extend(std::iter::from_fn(|| self.bulk.pop()).take(bulk));
        taken
    }

    /// Takes those that have waited longer than `longest`.
    pub(crate) fn take_older(&mut self, longest: Duration) -> Vec<Item> {
        let mut old = older(&mut self.fast, longest);
        self.bulk.take_older(longest, &mut old);
        old
    }
}

/// The messages of several campaigns: each gives one in turn, however many it has.
#[derive(Debug, Default)]
struct Turns {
    next: VecDeque<Option<CampaignId>>,
    queues: HashMap<Option<CampaignId>, VecDeque<Item>>,
    len: usize,
}

impl Turns {
    fn push(&mut self, campaign: Option<CampaignId>, item: Item) {
        let queue = self.queues.entry(campaign).or_insert_with(|| {
            self.next.push_back(campaign);
            VecDeque::new()
        });
        queue.push_back(item);
        self.len += 1;
    }

    fn pop(&mut self) -> Option<Item> {
        let campaign = self.next.pop_front()?;
        let queue = self.queues.get_mut(&campaign)?;
        let item = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&campaign);
        } else {
            self.next.push_back(campaign);
        }
        self.len -= usize::from(item.is_some());
        item
    }

    fn take_older(&mut self, longest: Duration, old: &mut Vec<Item>) {
        for queue in self.queues.values_mut() {
            old.append(&mut older(queue, longest));
        }
        self.queues.retain(|_, queue| !queue.is_empty());
        self.next.retain(|campaign| self.queues.contains_key(campaign));
        self.len = self.queues.values().map(VecDeque::len).sum();
    }
}

fn older(queue: &mut VecDeque<Item>, longest: Duration) -> Vec<Item> {
    let count = queue
        .iter()
        .take_while(|item| item.since.elapsed() >= longest)
        .count();
    queue.drain(..count).collect()
}
