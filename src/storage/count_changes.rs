//! Changes of campaigns' counts, gathered over a transaction and written once, in the order of campaigns.
//!
//! Each kind of writer has its own row per campaign, so that the API, planners and committers do not wait for each other.

use std::collections::BTreeMap;

use domain::counts::Counts;
use domain::ids::{CampaignId, TenantId};
use domain::message::MessageState;
use uuid::Uuid;

use super::{Connection, StorageError};

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// Uploads, cancellations, replays.
    Api,
    /// `planned` to `queued` and back.
    Planner,
    /// Everything after.
    Committer,
}

impl Writer {
    /// Gives its name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Planner => "planner",
            Self::Committer => "committer",
        }
    }
}

/// Changes of counts by campaign.
#[derive(Debug, Default)]
pub struct CountChanges(BTreeMap<CampaignId, (TenantId, Counts)>);

const ADD: &str = "INSERT INTO campaign_counts AS c (campaign_id, writer, tenant_id, planned, queued, sending, accepted, sent,
        delivered, read, failed, unknown, dead, cancelled, suppressed)
    SELECT w.campaign_id, $1, w.tenant_id, w.planned, w.queued, w.sending, w.accepted, w.sent, w.delivered, w.read, w.failed,
        w.unknown, w.dead, w.cancelled, w.suppressed
    FROM unnest($2::uuid[], $3::uuid[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[],
        $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[])
        AS w (campaign_id, tenant_id, planned, queued, sending, accepted, sent, delivered, read, failed, unknown, dead,
            cancelled, suppressed)
    ORDER BY w.campaign_id
    ON CONFLICT (campaign_id, writer) DO UPDATE SET
        planned = c.planned + excluded.planned, queued = c.queued + excluded.queued,
        sending = c.sending + excluded.sending, accepted = c.accepted + excluded.accepted,
        sent = c.sent + excluded.sent, delivered = c.delivered + excluded.delivered, read = c.read + excluded.read,
        failed = c.failed + excluded.failed, unknown = c.unknown + excluded.unknown, dead = c.dead + excluded.dead,
        cancelled = c.cancelled + excluded.cancelled, suppressed = c.suppressed + excluded.suppressed";

impl CountChanges {
    /// Notes that a message went from one state to another. Single messages have no campaign and are not counted.
    pub fn moved(
        &mut self,
        tenant: TenantId,
        campaign: Option<CampaignId>,
        from: MessageState,
        to: MessageState,
    ) {
        if let Some(campaign) = campaign {
            self.of(tenant, campaign).moved(from, to);
        }
    }

    /// Notes `many` new messages of a campaign.
    pub fn added(&mut self, tenant: TenantId, campaign: CampaignId, state: MessageState, many: i64) {
        self.of(tenant, campaign)[state] += many;
    }

    fn of(&mut self, tenant: TenantId, campaign: CampaignId) -> &mut Counts {
        &mut self.0.entry(campaign).or_insert((tenant, Counts::default())).1
    }

    /// Writes the changes; a no-op when there are none.
    ///
    /// # Errors
    /// What the database says.
    pub async fn write(mut self, connection: &mut Connection, writer: Writer) -> Result<(), StorageError> {
        self.0.retain(|_, (_, counts)| !counts.is_zero());
        if self.0.is_empty() {
            return Ok(());
        }
        let campaigns: Vec<Uuid> = self.0.keys().map(|campaign| campaign.0).collect();
        let tenants: Vec<Uuid> = self.0.values().map(|(tenant, _)| tenant.0).collect();
        let columns: Vec<Vec<i64>> = MessageState::ALL
            .iter()
            .map(|state| self.0.values().map(|(_, counts)| counts[state]).collect())
            .collect();
        let writer = writer.as_str();
        let mut with: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> = vec![&writer, &campaigns, &tenants];
        with.extend(
            columns
                .iter()
                .map(|column| column as &(dyn tokio_postgres::types::ToSql + Sync)),
        );
        connection.execute(ADD, &with).await?;
        Ok(())
    }
}
