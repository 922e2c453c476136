//! A tenant and the steps of the main job, as its user would take them through the API.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use domain::ids::TenantId;
use serde_json::{Value, json};
use simulator::config::NumberConfig;
use uuid::Uuid;

use super::{Client, Installation, eventually};

/// What a plan should be like.
#[derive(Clone, Copy, Debug)]
pub struct PlanChoice {
    /// Units included in the fee.
    pub allowance_units: i64,
    /// `hard`, `overage` or `soft`.
    pub policy: &'static str,
    /// The price of a unit beyond the allowance, in micros.
    pub overage_price_micros: i64,
    /// The fee, in cents.
    pub fee_minor: i64,
}

impl PlanChoice {
    /// A plan that never ends and costs nothing.
    pub const FREE: Self = Self {
        allowance_units: 0,
        policy: "soft",
        overage_price_micros: 0,
        fee_minor: 0,
    };

    /// Publishes it under a code that begins with a name, and gives the code.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn publish(&self, installation: &Installation, name: &str) -> anyhow::Result<String> {
        let code = format!("{name}-{}", &Uuid::now_v7().simple().to_string()[24..]);
        let published = json!({
            "code": code, "name": format!("Plan of {name}"), "currency": "EUR", "fee_minor": self.fee_minor,
            "allowance_units": self.allowance_units, "policy": self.policy,
            "overage_price_micros": self.overage_price_micros,
        });
        installation.admin.post("/admin/v1/plans", &published).await?;
        Ok(code)
    }
}

/// A tenant with a key and a number.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Calls the API under its key.
    pub api: Client,
    /// Its key.
    pub key: String,
    /// Its number.
    pub sender: String,
    /// Meta's id of its number.
    pub phone_number_id: String,
}

impl Tenant {
    /// Makes a plan, a tenant on it, a key and a number of the given rate, here and at Meta.
    ///
    /// # Errors
    /// When a step is refused.
    pub async fn create(
        installation: &Installation,
        name: &str,
        plan: PlanChoice,
        messages_per_second: u32,
    ) -> anyhow::Result<Self> {
        let unique = Uuid::now_v7().simple().to_string();
        let admin = &installation.admin;
        let code = plan.publish(installation, name).await?;
        let made = json!({"name": name, "plan": code, "timezone": "Europe/Lisbon"});
        let id = text(&admin.post("/admin/v1/tenants", &made).await?, "id")?;
        let keys = format!("/admin/v1/tenants/{id}/api-keys");
        let key = text(&admin.post(&keys, &json!({"name": "trial"})).await?, "key")?;
        let api = installation.public.clone().with_key(&key);
        let phone_number_id = digits(&unique);
        let waba_id = format!("9{phone_number_id}");
        let display_phone_number = "+351 910 000 000";
        installation.simulator.set_number(NumberConfig {
            id: phone_number_id.clone(),
            waba_id: waba_id.clone(),
            display_phone_number: display_phone_number.to_owned(),
        });
        installation
            .simulator
            .set_number_rate(&phone_number_id, messages_per_second);
        let number = json!({
            "phone_number_id": phone_number_id, "waba_id": waba_id,
            "display_phone_number": display_phone_number, "access_token": "a-token-of-the-trial",
            "messages_per_second": messages_per_second,
        });
        let sender = text(&api.post("/v1/senders", &number).await?, "id")?;
        Ok(Self {
            id: id.parse()?,
            api,
            key,
            sender,
            phone_number_id,
        })
    }

    /// Calls the server where it listens now, after a restart.
    pub fn reconnect(&mut self, installation: &Installation) {
        self.api = installation.public.clone().with_key(&self.key);
    }

    /// Creates a draft campaign that greets each recipient by the column `name`.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn draft(&self, name: &str) -> anyhow::Result<String> {
        let campaign = json!({"name": name, "sender_id": self.sender, "template": order_update()});
        text(&self.api.post("/v1/campaigns", &campaign).await?, "id")
    }

    /// Uploads recipients as CSV and gives the report.
    ///
    /// # Errors
    /// When the upload is refused as a whole.
    pub async fn upload(&self, campaign: &str, csv: String) -> anyhow::Result<Value> {
        let path = format!("/v1/campaigns/{campaign}/recipients");
        self.api.upload(&path, "text/csv", Bytes::from(csv)).await
    }

    /// Tells a campaign to `launch`, `pause`, `resume` or `cancel`.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn tell(&self, campaign: &str, what: &str) -> anyhow::Result<Value> {
        self.api
            .post(&format!("/v1/campaigns/{campaign}/{what}"), &json!({}))
            .await
    }

    /// Reads a campaign.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn campaign(&self, campaign: &str) -> anyhow::Result<Value> {
        self.api.get(&format!("/v1/campaigns/{campaign}")).await
    }

    /// Creates, fills and launches a campaign of `contacts` made-up recipients, the first being `first`.
    ///
    /// # Errors
    /// When a step is refused.
    pub async fn launch_to(&self, name: &str, first: u64, contacts: u64) -> anyhow::Result<String> {
        let campaign = self.draft(name).await?;
        self.fill(&campaign, first, contacts).await?;
        self.tell(&campaign, "launch").await?;
        Ok(campaign)
    }

    /// Uploads `contacts` made-up recipients, the first being `first`.
    ///
    /// # Errors
    /// When not all of them are accepted.
    pub async fn fill(&self, campaign: &str, first: u64, contacts: u64) -> anyhow::Result<()> {
        let mut csv = String::from("recipient,name\n");
        for number in first..first + contacts {
            csv.push_str(&format!("+3519{number:08},Contact {number}\n"));
        }
        let report = self.upload(campaign, csv).await?;
        anyhow::ensure!(
            report["accepted"] == contacts,
            "the upload was not accepted: {report}"
        );
        Ok(())
    }

    /// Waits until a campaign is finished, and gives it.
    ///
    /// # Errors
    /// When it is not finished in time.
    pub async fn finished(&self, campaign: &str, within: Duration) -> anyhow::Result<Value> {
        eventually("the campaign is finished", within, || async {
            let found = self.campaign(campaign).await?;
            Ok((found["state"] == "finished").then_some(found))
        })
        .await
    }
}

/// Gives a count of a campaign, as the API shows it.
///
/// # Errors
/// When there is none of that name.
pub fn counts_of(campaign: &Value, state: &str) -> anyhow::Result<i64> {
    campaign["counts"][state]
        .as_i64()
        .with_context(|| format!("no count {state:?} in {campaign}"))
}

fn order_update() -> Value {
    json!({
        "name": "order_update", "language": "en_US",
        "components": [{"type": "body", "parameters": [{"type": "text", "text": "{{name}}"}]}],
    })
}

fn text(from: &Value, field: &str) -> anyhow::Result<String> {
    let found = from[field]
        .as_str()
        .with_context(|| format!("no {field} in {from}"))?;
    Ok(found.to_owned())
}

/// Fifteen digits that are unlikely to meet again.
fn digits(unique: &str) -> String {
    let number = u64::from_str_radix(&unique[17..], 16).unwrap_or_default() % 100_000_000_000_000;
    format!("1{number:014}")
}
