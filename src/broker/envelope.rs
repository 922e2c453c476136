//! What travels through an inbox: ids only. Losing one, or getting it twice, is harmless.

use domain::ids::{CampaignId, EventId, MessageId, SenderId, TenantId};
use domain::message::Lane;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Messages that one delivery names at most.
pub const SENDS_MOST: usize = 50;
/// Events that one delivery names at most.
pub const EVENTS_MOST: usize = 200;

/// A hint to the owner of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// These messages are queued.
    Send {
        /// Whose.
        tenant: TenantId,
        /// The number they leave from.
        sender: SenderId,
        /// Which lane they take.
        lane: Lane,
        /// Their campaign, if they are of one: campaigns take turns at a number.
        campaign: Option<CampaignId>,
        /// Which.
        messages: Vec<MessageId>,
    },
    /// These events are stored.
    Events {
        /// Whose.
        tenant: TenantId,
        /// Which.
        events: Vec<EventId>,
    },
    /// A second has passed: timers may run.
    Tick,
}

/// The bytes of a delivery are no envelope.
#[derive(Debug, thiserror::Error)]
#[error("not an envelope: {0}")]
pub struct Undecodable(String);

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Wire {
    Send {
        tenant: Uuid,
        sender: Uuid,
        lane: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        campaign: Option<Uuid>,
        messages: Vec<Uuid>,
    },
    Events {
        tenant: Uuid,
        events: Vec<Uuid>,
    },
    Tick,
}

impl Envelope {
    /// Gives the ids that it names, for the log.
    pub fn ids(&self) -> String {
        let ids: Vec<String> = match self {
            Self::Send { messages, .. } => messages.iter().map(ToString::to_string).collect(),
            Self::Events { events, .. } => events.iter().map(ToString::to_string).collect(),
            Self::Tick => Vec::new(),
        };
        ids.join(" ")
    }

    /// Writes it as JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        let wire = match self {
            Self::Send {
                tenant,
                sender,
                lane,
                campaign,
                messages,
            } => Wire::Send {
                tenant: tenant.0,
                sender: sender.0,
                lane: lane.as_str().to_owned(),
                campaign: campaign.map(|campaign| campaign.0),
                messages: messages.iter().map(|message| message.0).collect(),
            },
            Self::Events { tenant, events } => Wire::Events {
                tenant: tenant.0,
                events: events.iter().map(|event| event.0).collect(),
            },
            Self::Tick => Wire::Tick,
        };
        serde_json::to_vec(&wire).unwrap_or_default()
    }

    /// Reads it from JSON.
    ///
    /// # Errors
    /// When the bytes are something else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Undecodable> {
        let wire: Wire = serde_json::from_slice(bytes).map_err(|error| Undecodable(error.to_string()))?;
        Ok(match wire {
            Wire::Send {
                tenant,
                sender,
                lane,
                campaign,
                messages,
            } => Self::Send {
                tenant: TenantId(tenant),
                sender: SenderId(sender),
                lane: lane
                    .parse()
                    .map_err(|_| Undecodable(format!("there is no lane {lane:?}")))?,
                campaign: campaign.map(CampaignId),
                messages: messages.into_iter().map(MessageId).collect(),
            },
            Wire::Events { tenant, events } => Self::Events {
                tenant: TenantId(tenant),
                events: events.into_iter().map(EventId).collect(),
            },
            Wire::Tick => Self::Tick,
        })
    }

    /// Adds another envelope's ids to this one's, when both go the same way and it stays within bounds.
    pub(super) fn absorb(&mut self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Send {
                    tenant,
                    sender,
                    lane,
                    campaign,
                    messages,
                },
                Self::Send {
                    tenant: also,
                    sender: from,
                    lane: on,
                    campaign: of,
                    messages: more,
                },
            ) if (&*tenant, &*sender, &*lane, &*campaign) == (also, from, on, of)
                && messages.len() + more.len() <= SENDS_MOST =>
            {
                messages.extend(more);
                true
            }
            (
                Self::Events { tenant, events },
                Self::Events {
                    tenant: also,
                    events: more,
                },
            ) if tenant == also && events.len() + more.len() <= EVENTS_MOST => {
                events.extend(more);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_survives_the_way() {
        let tenant = TenantId(Uuid::now_v7());
        let sent = Envelope::Send {
            tenant,
            sender: SenderId(Uuid::now_v7()),
            lane: Lane::Bulk,
            campaign: Some(CampaignId(Uuid::now_v7())),
            messages: vec![MessageId(Uuid::now_v7())],
        };
        for envelope in [
            sent,
            Envelope::Events {
                tenant,
                events: vec![EventId(Uuid::now_v7())],
            },
            Envelope::Tick,
        ] {
            assert_eq!(Envelope::from_bytes(&envelope.to_bytes()).unwrap(), envelope);
        }
    }

    #[test]
    fn an_envelope_of_an_older_program_names_no_campaign() {
        let id = Uuid::now_v7();
        let old =
            format!(r#"{{"kind":"send","tenant":"{id}","sender":"{id}","lane":"bulk","messages":["{id}"]}}"#);
        let read = Envelope::from_bytes(old.as_bytes()).unwrap();
        assert!(matches!(
            read,
            Envelope::Send {
                campaign: None,
                lane: Lane::Bulk,
                ..
            }
        ));
    }

    #[test]
    fn what_is_no_envelope_is_refused() {
        assert!(Envelope::from_bytes(b"{\"kind\":\"send\"}").is_err());
        assert!(Envelope::from_bytes(b"\xff").is_err());
    }

    #[test]
    fn only_what_goes_the_same_way_is_gathered_and_never_too_much() {
        let tenant = TenantId(Uuid::now_v7());
        let events = |many| Envelope::Events {
            tenant,
            events: vec![EventId(Uuid::now_v7()); many],
        };
        let mut gathered = events(EVENTS_MOST - 1);
        assert!(gathered.absorb(&events(1)));
        assert!(!gathered.absorb(&events(1)));
        assert!(!gathered.absorb(&Envelope::Tick));
    }
}
