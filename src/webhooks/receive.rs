//! What both doors do with a delivery that they believe: find whose each change is, store it, and tell whether it was new.

use domain::ids::TenantId;
use domain::webhook::{NumberOwner, Quarantine, owner_by_account, owner_by_number};
use jiff::Timestamp;

use super::Webhooks;
use super::body::check_updates;
use super::changes::{Part, Sorted, parts};
use super::metrics::Door;
use super::refusal::Refusal;
use super::store::Delivery;
use crate::storage::StorageError;
use crate::storage::events::SecurityEvent;

/// Whose a change is.
struct Owner {
    verdict: Result<TenantId, Quarantine>,
    /// Whose number it is, even if the account is wrong.
    concerns: Option<TenantId>,
}

impl Webhooks {
    /// Keeps a delivery and tells whether anything of it was new. When this answers, it is durable.
    pub(super) async fn receive(&self, door: Door, body: &[u8]) -> Result<bool, Refusal> {
        check_updates(body)?;
        let kept = async { self.store.store(self.sort(body).await?).await };
        match kept.await {
            Ok(was_new) => {
                self.metrics.count_accepted(door, was_new);
                Ok(was_new)
            }
            Err(error) => {
                tracing::warn!(%error, door = door.as_str(), "a delivery was not stored; it will come again");
                Err(Refusal::NotStored)
            }
        }
    }

    async fn sort(&self, body: &[u8]) -> Result<Delivery, StorageError> {
        let now = Timestamp::now();
        let mut delivery = Delivery::default();
        for part in parts(body) {
            match part {
                Part::Change(sorted) => self.take_change(sorted, now, &mut delivery).await?,
                Part::NotUnderstood(rows) => delivery.rows.extend(rows),
            }
        }
        self.count(&delivery);
        Ok(delivery)
    }

    async fn take_change(
        &self,
        sorted: Sorted,
        now: Timestamp,
        delivery: &mut Delivery,
    ) -> Result<(), StorageError> {
        self.metrics
            .count_updates(sorted.field, sorted.updates(), sorted.unknown_messages);
        let owner = self.owner(&sorted).await?;
        if let Err(kind) = owner.verdict {
            delivery.security.push(SecurityEvent {
                kind,
                waba_id: sorted.account.clone(),
                phone_number_id: sorted.number.clone().unwrap_or_default(),
                tenant: owner.concerns,
            });
        }
        delivery.rows.extend(sorted.rows(owner.verdict, now));
        Ok(())
    }

    async fn owner(&self, sorted: &Sorted) -> Result<Owner, StorageError> {
        let Some(number) = &sorted.number else {
            let tenants = self.senders.tenants_of_account(&sorted.account).await?;
            return Ok(Owner {
                verdict: owner_by_account(&tenants),
                concerns: None,
            });
        };
        let sender = self.senders.by_phone_number_id(number).await?;
        let owner = sender.as_ref().map(|sender| NumberOwner {
            tenant: sender.tenant,
            account: &sender.waba_id,
        });
        Ok(Owner {
            verdict: owner_by_number(owner, &sorted.account),
            concerns: owner.map(|owner| owner.tenant),
        })
    }

    fn count(&self, delivery: &Delivery) {
        self.metrics.count_late(delivery.rows.late);
        for quarantine in delivery
            .rows
            .others
            .iter()
            .filter_map(|other| other.quarantined_because)
        {
            self.metrics.count_quarantined(quarantine);
        }
        for event in &delivery.security {
            tracing::warn!(
                kind = event.kind.as_str(),
                waba.id = event.waba_id,
                "a delivery speaks for a number or an account that is not its tenant's"
            );
            self.metrics.count_security_event(event.kind);
        }
    }
}
