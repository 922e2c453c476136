//! Campaigns' templates, remembered: a template never changes once its campaign has recipients.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::ids::CampaignId;
use uuid::Uuid;

use crate::storage::{Connection, StorageError};

/// Templates remembered at most; beyond it all are forgotten and read again.
const REMEMBERED_MOST: usize = 10_000;

/// The templates of the campaigns at work.
#[derive(Default)]
pub(super) struct Templates(Mutex<HashMap<CampaignId, Arc<str>>>);

impl Templates {
    /// Gives the templates of some campaigns, reading those that are not known yet.
    pub(super) async fn of(
        &self,
        connection: &mut Connection,
        campaigns: impl Iterator<Item = CampaignId>,
    ) -> Result<HashMap<CampaignId, Arc<str>>, StorageError> {
        let mut found = HashMap::new();
        let mut missing: Vec<Uuid> = Vec::new();
        {
            let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for campaign in campaigns {
                match known.get(&campaign) {
                    Some(template) => drop(found.insert(campaign, Arc::clone(template))),
                    None => missing.push(campaign.0),
                }
            }
        }
        if !missing.is_empty() {
            missing.sort_unstable();
            missing.dedup();
            let rows = connection
                .query(
                    "SELECT id, template::text FROM campaigns WHERE id = ANY($1)",
                    &[&missing],
                )
                .await?;
            let read = rows
                .iter()
                .map(|row| (CampaignId(row.get(0)), Arc::from(row.get::<_, &str>(1))));
            found.extend(read);
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() + missing.len() > REMEMBERED_MOST {
                known.clear();
            }
            known.extend(
                found
                    .iter()
                    .map(|(campaign, template)| (*campaign, Arc::clone(template))),
            );
        }
        Ok(found)
    }
}
