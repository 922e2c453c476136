//! Work that failed too often in the company of other work. It is tried again alone, later; when it fails alone as well while
//! others succeed, it is poison and goes to the dead letters instead of coming back for ever.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::ids::{EventId, MessageId};
use domain::retry::HELD_DELAY;

use crate::limits::{POISON_ROUNDS_MOST, SUSPECTS_MOST};
use crate::ports::Poison;
use crate::tenant::receipt::Item;
use crate::tenant::send_queue::hand_back;
use crate::tenant::{World, until_available};

/// What may be poison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Suspect {
    Message(MessageId),
    Event(EventId),
}

#[derive(Clone, Copy, Debug)]
struct Suspicion {
    rounds: u32,
    successes_before: u64,
}

/// A tenant's suspects. Outlives the actors' incarnations, and is forgotten with them: whoever starts anew finds out again.
#[derive(Debug, Default)]
pub(crate) struct Suspects(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    suspects: HashMap<Suspect, Suspicion>,
    successes: u64,
}

impl Suspects {
    /// Tells whether it is to be tried alone.
    pub(crate) fn holds(&self, suspect: Suspect) -> bool {
        self.known(|known| known.suspects.contains_key(&suspect))
    }

    /// A commit of these succeeded.
    pub(crate) fn succeeded(&self, messages: impl Iterator<Item = MessageId>, events: &[EventId]) {
        self.known(|known| {
            known.successes += 1;
            if known.suspects.is_empty() {
                return;
            }
            for suspect in messages
                .map(Suspect::Message)
                .chain(events.iter().copied().map(Suspect::Event))
            {
                known.suspects.remove(&suspect);
            }
        });
    }

    /// A round of tries failed with this in it. Tells whether it is poison: it failed before, and since then others
    /// succeeded or it has failed again and again. A tenant for whom nothing succeeds is a case for quarantine.
    fn accuse(&self, suspect: Suspect) -> bool {
        self.known(|known| {
            if known.suspects.len() >= SUSPECTS_MOST && !known.suspects.contains_key(&suspect) {
                known.suspects.clear();
            }
            let successes = known.successes;
            let suspicion = known.suspects.entry(suspect).or_insert(Suspicion {
                rounds: 0,
                successes_before: successes,
            });
            suspicion.rounds += 1;
            let others_succeed = suspicion.rounds > 1 && successes > suspicion.successes_before;
            let is_poison = others_succeed || suspicion.rounds >= POISON_ROUNDS_MOST;
            if is_poison {
                known.suspects.remove(&suspect);
            }
            is_poison
        })
    }

    fn known<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Gives back what failed too often for the first time, and buries what is poison. Events that are not buried stay stored, and
/// are found again.
pub(crate) fn set_aside(world: &Arc<World>, items: Vec<Item>, events: Vec<EventId>, reason: &str) {
    let (items, again): (Vec<_>, Vec<_>) = items
        .into_iter()
        .partition(|item| world.suspects.accuse(Suspect::Message(item.message)));
    hand_back(world, again, HELD_DELAY);
    let poison = Poison {
        tenant: world.tenant(),
        messages: items.iter().map(|item| item.message).collect(),
        events: events
            .into_iter()
            .filter(|event| world.suspects.accuse(Suspect::Event(*event)))
            .collect(),
        reason: reason.to_owned(),
    };
    if poison.messages.is_empty() && poison.events.is_empty() {
        return;
    }
    tracing::error!(tenant.id = %poison.tenant, messages = ?poison.messages, events = ?poison.events, reason,
        "poison goes to the dead letters");
    let buries = world.clone();
    world.spawn(async move {
        let messages = &buries.shared.ports.messages;
        until_available(|| messages.bury(poison.clone())).await;
        items.into_iter().for_each(Item::done);
    });
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn message() -> MessageId {
        MessageId(Uuid::now_v7())
    }

    #[test]
    fn what_fails_again_while_others_succeed_is_poison() {
        let (suspects, one) = (Suspects::default(), message());
        assert!(!suspects.accuse(Suspect::Message(one)), "once is no proof");
        assert!(suspects.holds(Suspect::Message(one)));
        suspects.succeeded([message()].into_iter(), &[]);
        assert!(suspects.accuse(Suspect::Message(one)));
        assert!(!suspects.holds(Suspect::Message(one)));
    }

    #[test]
    fn where_nothing_succeeds_nothing_is_blamed_at_once() {
        let (suspects, event) = (Suspects::default(), EventId(Uuid::now_v7()));
        let rounds = (1..).find(|_| suspects.accuse(Suspect::Event(event)));
        assert_eq!(rounds, Some(POISON_ROUNDS_MOST));
    }

    #[test]
    fn success_clears_a_suspect() {
        let (suspects, one) = (Suspects::default(), message());
        suspects.accuse(Suspect::Message(one));
        suspects.succeeded([one].into_iter(), &[]);
        assert!(!suspects.holds(Suspect::Message(one)));
        assert!(!suspects.accuse(Suspect::Message(one)));
    }

    #[test]
    fn the_list_has_an_end() {
        let suspects = Suspects::default();
        for _ in 0..=SUSPECTS_MOST {
            suspects.accuse(Suspect::Message(message()));
        }
        assert_eq!(suspects.known(|known| known.suspects.len()), 1);
    }
}
