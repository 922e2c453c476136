//! Makes customers that are not there yet, with a history: campaigns that were really sent, and some that were not.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Installation;
use super::customers::{Customer, Size};
use crate::trial::{Client, eventually};

/// The slowest that a history may be sent, messages a second; it is usually far quicker.
const SLOWEST: u64 = 20;
/// How long the smallest history may take.
const AT_LEAST: Duration = Duration::from_secs(60);
/// When the campaign that waits will start.
const SCHEDULED_IN: SignedDuration = SignedDuration::from_hours(24);

/// A customer that is there.
pub(super) struct Tenant {
    pub(super) customer: Customer,
    pub(super) api: Client,
    pub(super) sender: String,
}

/// Makes what is missing and waits until every message of the history has been sent.
pub(super) async fn fill(
    installation: &Installation,
    customers: Vec<Customer>,
) -> anyhow::Result<Vec<Tenant>> {
    let present = present(installation).await?;
    let mut tenants = Vec::new();
    let mut running = Vec::new();
    for customer in customers {
        if let Some(id) = present.get(customer.name) {
            let tenant = find(installation, customer, id).await?;
            println!("{}: is there", tenant.customer.name);
            tenants.push(tenant);
            continue;
        }
        let tenant = make(installation, customer, tenants.len()).await?;
        let campaigns = launch_history(&tenant).await?;
        running.extend(
            campaigns
                .into_iter()
                .map(|campaign| (tenant.api.clone(), campaign)),
        );
        println!("{}: {} messages", tenant.customer.name, tenant.customer.messages);
        tenants.push(tenant);
    }
    let messages = tenants.iter().map(|tenant| tenant.customer.messages).sum::<u64>();
    wait_for(&running, AT_LEAST + Duration::from_secs(messages / SLOWEST)).await?;
    println!("{} tenants, {} campaigns finished", tenants.len(), running.len());
    Ok(tenants)
}

/// The tenants of the installation, by name.
async fn present(installation: &Installation) -> anyhow::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut path = "/admin/v1/tenants".to_owned();
    loop {
        let page = installation.admin.get(&path).await?;
        for tenant in page["items"].as_array().into_iter().flatten() {
            found.insert(text(tenant, "name")?, text(tenant, "id")?);
        }
        let Some(cursor) = page["next_cursor"].as_str() else {
            return Ok(found);
        };
        path = format!("/admin/v1/tenants?cursor={cursor}");
    }
}

async fn find(installation: &Installation, customer: Customer, id: &str) -> anyhow::Result<Tenant> {
    let api = new_key(installation, id).await?;
    let senders = api.get("/v1/senders").await?;
    let sender = text(&senders["items"][0], "id")?;
    Ok(Tenant {
        customer,
        api,
        sender,
    })
}

async fn make(installation: &Installation, customer: Customer, number: usize) -> anyhow::Result<Tenant> {
    let admin = &installation.admin;
    let plan = customer.size.plan();
    let plans = admin.get("/admin/v1/plans").await?;
    let mut published = plans["items"].as_array().into_iter().flatten();
    if !published.any(|one| one["code"] == plan.code) {
        let terms = json!({
            "code": plan.code, "name": plan.code, "currency": "EUR", "fee_minor": plan.fee_minor,
            "allowance_units": plan.allowance_units, "policy": "overage", "overage_price_micros": plan.overage_price_micros,
        });
        admin.post("/admin/v1/plans", &terms).await?;
    }
    let tenant = json!({"name": customer.name, "plan": plan.code, "timezone": "Europe/Lisbon"});
    let id = text(&admin.post("/admin/v1/tenants", &tenant).await?, "id")?;
    let api = new_key(installation, &id).await?;
    let sender = make_sender(installation, &api, customer.size, number).await?;
    Ok(Tenant {
        customer,
        api,
        sender,
    })
}

async fn new_key(installation: &Installation, tenant: &str) -> anyhow::Result<Client> {
    let path = format!("/admin/v1/tenants/{tenant}/api-keys");
    let made = installation.admin.post(&path, &json!({"name": "seed"})).await?;
    Ok(installation.public.clone().with_key(&text(&made, "key")?))
}

/// The number exists at Meta first: its webhooks must name the account that it belongs to.
async fn make_sender(
    installation: &Installation,
    api: &Client,
    size: Size,
    number: usize,
) -> anyhow::Result<String> {
    let (phone_number_id, waba_id) = (
        format!("10650000000{number:04}"),
        format!("10220000000{number:04}"),
    );
    let display = format!("+351 910 000 {number:03}");
    let at_meta =
        json!({"rate": size.messages_per_second(), "waba_id": waba_id, "display_phone_number": display});
    installation
        .meta
        .put(&format!("/_control/numbers/{phone_number_id}"), &at_meta)
        .await
        .context("the simulated Meta")?;
    let here = json!({
        "phone_number_id": phone_number_id, "waba_id": waba_id, "display_phone_number": display,
        "access_token": "a-token-of-staging", "messages_per_second": size.messages_per_second(),
    });
    text(&api.post("/v1/senders", &here).await?, "id")
}

/// Launches its campaigns, and leaves one draft, one that waits for its time and one that was cancelled where the customer is large.
async fn launch_history(tenant: &Tenant) -> anyhow::Result<Vec<String>> {
    let customer = &tenant.customer;
    let each = customer.messages / customer.size.campaigns();
    let mut launched = Vec::new();
    for number in 0..customer.size.campaigns() {
        if each > 0 {
            let campaign = tenant
                .draft(&format!("Campaign {}", number + 1), number * each, each)
                .await?;
            tenant.tell(&campaign, "launch", &json!({})).await?;
            launched.push(campaign);
        }
    }
    if customer.size == Size::Large {
        tenant.draft("Next season", 0, 100).await?;
        let later = tenant.draft("Tomorrow", 0, 100).await?;
        let at = (Timestamp::now() + SCHEDULED_IN).to_string();
        tenant.tell(&later, "launch", &json!({"schedule_at": at})).await?;
        let regretted = tenant.draft("Regretted", 0, 100).await?;
        tenant.tell(&regretted, "cancel", &json!({})).await?;
    }
    Ok(launched)
}

async fn wait_for(running: &[(Client, String)], within: Duration) -> anyhow::Result<()> {
    for (api, campaign) in running {
        let path = format!("/v1/campaigns/{campaign}");
        eventually("a campaign of the history is finished", within, || async {
            let found = api.get(&path).await?;
            Ok((found["state"] == "finished").then_some(()))
        })
        .await?;
    }
    Ok(())
}

impl Tenant {
    /// Makes a draft for so many made-up people, the first being `first`.
    pub(super) async fn draft(&self, name: &str, first: u64, people: u64) -> anyhow::Result<String> {
        let campaign = json!({"name": name, "sender_id": self.sender, "template": template("{{name}}")});
        let id = text(&self.api.post("/v1/campaigns", &campaign).await?, "id")?;
        let mut rows = String::from("recipient,name\n");
        for number in first..first + people {
            let _ = writeln!(rows, "{},Customer {number}", recipient(number)); // To a string: cannot fail.
        }
        let path = format!("/v1/campaigns/{id}/recipients");
        self.api.upload(&path, "text/csv", Bytes::from(rows)).await?;
        Ok(id)
    }

    /// Tells a campaign what to do.
    pub(super) async fn tell(&self, campaign: &str, what: &str, how: &Value) -> anyhow::Result<()> {
        let path = format!("/v1/campaigns/{campaign}/{what}");
        self.api.post(&path, how).await.map(drop)
    }
}

/// A made-up person's number.
pub(super) fn recipient(number: u64) -> String {
    format!("+3519{:08}", number % 100_000_000)
}

/// The template that every customer sends, with its one parameter.
pub(super) fn template(parameter: &str) -> Value {
    json!({
        "name": "order_update", "language": "en_US",
        "components": [{"type": "body", "parameters": [{"type": "text", "text": parameter}]}],
    })
}

fn text(from: &Value, field: &str) -> anyhow::Result<String> {
    let found = from[field].as_str();
    Ok(found.with_context(|| format!("no {field} in {from}"))?.to_owned())
}
