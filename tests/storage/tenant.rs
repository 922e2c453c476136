//! A tenant of a test's own.

use domain::audit_chain::genesis;
use domain::campaign::Standing;
use domain::counts::Counts;
use domain::ids::{CampaignId, MessageId, SenderId, TenantId};
use domain::sending_window::SendingWindow;
use malote::api::upload::{Row, RowReader, RowRefused, UploadReport, add_few};
use malote::content::Template;
use malote::storage::campaigns::{self, Campaign, NewCampaign};
use malote::storage::senders::{self, NewSender};
use malote::storage::{Database, Role};
use serde_json::{Value, json};
use uuid::Uuid;

/// A fresh tenant with one sender.
pub(crate) struct TestTenant {
    pub(crate) rows: Database,
    pub(crate) system: Database,
    pub(crate) tenant: TenantId,
    pub(crate) sender: SenderId,
}

impl TestTenant {
    pub(crate) async fn create() -> Self {
        let config = malote::config::load(None, None).expect("the settings are read");
        let connect = async |role| Database::connect(&config.database, role).await;
        let rows = connect(Role::AppRw).await.expect("the database lets app_rw in");
        let system = connect(Role::AppSystem)
            .await
            .expect("the database lets app_system in");
        let (tenant, sender) = (Uuid::now_v7(), Uuid::now_v7());
        let mut transaction = system.begin().await.expect("a transaction");
        transaction
            .execute(
                "INSERT INTO tenants (id, name, timezone) VALUES ($1, 'a test', 'UTC')",
                &[&tenant],
            )
            .await
            .expect("a tenant is stored");
        let number = NewSender {
            id: SenderId(sender),
            phone_number_id: &sender.to_string(),
            waba_id: "waba",
            display_phone_number: "+5511900000000",
            access_token: "token",
            messages_per_second: 80,
            portfolio_id: None,
        };
        senders::insert(&mut transaction, TenantId(tenant), &number)
            .await
            .expect("a sender is stored");
        transaction.commit().await.expect("committed");
        Self {
            rows,
            system,
            tenant: TenantId(tenant),
            sender: SenderId(sender),
        }
    }

    /// Creates a draft whose template asks for a name.
    pub(crate) async fn draft(&self) -> CampaignId {
        self.draft_with(None).await
    }

    /// Creates a draft that is sent within a window.
    pub(crate) async fn draft_with(&self, window: Option<SendingWindow>) -> CampaignId {
        let template = template();
        let id = CampaignId(Uuid::now_v7());
        let new = NewCampaign {
            id,
            name: "a campaign",
            sender: self.sender,
            template: template.json(),
            template_name: template.name(),
            template_language: template.language(),
            category: None,
            schedule_at: None,
            window,
        };
        let mut transaction = self.rows.begin_for(self.tenant).await.expect("a transaction");
        let created = campaigns::create(&mut transaction, self.tenant, &new)
            .await
            .expect("stored");
        assert!(created, "the sender is the tenant's");
        transaction.commit().await.expect("committed");
        id
    }

    /// Adds recipients, each with a name.
    pub(crate) async fn add(&self, campaign: CampaignId, recipients: &[String]) -> UploadReport {
        let reader = RowReader::new(template());
        let rows = recipients
            .iter()
            .map(|recipient| read(&reader, &json!({"recipient": recipient, "name": "Ana"})));
        let mut transaction = self.rows.begin_for(self.tenant).await.expect("a transaction");
        let report = add_few(&mut transaction, self.tenant, campaign, rows)
            .await
            .expect("added");
        transaction.commit().await.expect("committed");
        report
    }

    /// Gives the tenant a ledger without rows.
    pub(crate) async fn open_ledger(&self) {
        let genesis: &[u8] = &genesis(self.tenant);
        let mut connection = self.system.get().await.expect("a connection");
        connection
            .execute(
                "INSERT INTO billing_head (tenant_id, head_hash) VALUES ($1, $2)",
                &[&self.tenant.0, &genesis],
            )
            .await
            .expect("a head is stored");
    }

    /// Queues all messages at once, past the planner.
    pub(crate) async fn queue_all(&self) -> Vec<MessageId> {
        let mut connection = self.system.get().await.expect("a connection");
        let rows = connection
            .query(
                "UPDATE messages SET state = 'queued', due_at = NULL, queued_at = now() WHERE tenant_id = $1 RETURNING id",
                &[&self.tenant.0],
            )
            .await
            .expect("queued");
        rows.iter().map(|row| MessageId(row.get(0))).collect()
    }

    /// Gives the tenant a hard plan.
    pub(crate) async fn assign_plan(&self, allowance_units: i64) {
        let plan = Uuid::now_v7();
        let mut transaction = self.system.begin().await.expect("a transaction");
        transaction
            .execute(
                "INSERT INTO plans (id, code, version, name, currency, currency_exponent, fee_minor, allowance_units, policy)
                 VALUES ($1, $1::uuid::text, 1, 'a test', 'BRL', 2, 0, $2, 'hard')",
                &[&plan, &allowance_units],
            )
            .await
            .expect("a plan is stored");
        transaction
            .execute(
                "INSERT INTO plan_assignments (tenant_id, effective_from, plan_id, timing) VALUES ($1, now(), $2, 'now')",
                &[&self.tenant.0, &plan],
            )
            .await
            .expect("a plan is assigned");
        transaction.commit().await.expect("committed");
    }

    /// Moves a campaign by a rule.
    pub(crate) async fn change(
        &self,
        campaign: CampaignId,
        rule: impl FnOnce(Standing) -> Result<Standing, domain::campaign::TransitionRefused>,
    ) -> campaigns::Moved {
        let mut transaction = self.rows.begin_for(self.tenant).await.expect("a transaction");
        let moved = campaigns::change(&mut transaction, self.tenant, campaign, rule)
            .await
            .expect("asked");
        transaction.commit().await.expect("committed");
        moved
    }

    /// Reads a campaign, and checks that its counts are what its rows say.
    pub(crate) async fn campaign(&self, campaign: CampaignId) -> Campaign {
        let mut transaction = self.rows.begin_for(self.tenant).await.expect("a transaction");
        let found = campaigns::find(&mut transaction, self.tenant, campaign)
            .await
            .expect("read");
        let found = found.expect("the campaign is there");
        let rows = transaction
            .query(
                "SELECT state, count(*) AS number FROM messages WHERE tenant_id = $1 AND campaign_id = $2 GROUP BY state",
                &[&self.tenant.0, &campaign.0],
            )
            .await
            .expect("counted");
        transaction.commit().await.expect("committed");
        let mut counted = Counts::default();
        for row in rows {
            let state: domain::message::MessageState = row.get::<_, &str>("state").parse().expect("a state");
            counted[state] = row.get("number");
        }
        assert_eq!(found.counts, counted, "counts and rows agree");
        found
    }
}

pub(crate) fn template() -> Template {
    let components = json!([{"type": "body", "parameters": [{"type": "text", "text": "{{name}}"}]}]);
    Template::check(&json!({"name": "welcome", "language": "pt_BR", "components": components}))
        .expect("a template")
}

fn read(reader: &RowReader, row: &Value) -> Result<Row, RowRefused> {
    reader.read_object(row.as_object().expect("an object"))
}

/// Makes phone numbers that are all different.
pub(crate) fn phones(from: usize, number: usize) -> Vec<String> {
    (from..from + number)
        .map(|index| format!("+55119{index:08}"))
        .collect()
}
