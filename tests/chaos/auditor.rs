//! The auditor: compares what Meta knows with what the database says, by SQL of its own, and looks into the broker's queues. It shares no
//! code with what wrote the rows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use domain::invariants::{
    ACCOUNTED, BALANCE, BILLED, CHAIN, DRAINED, FINAL, FOLD, Invariant, KINDS, ONCE, UNITS,
};
use futures_util::StreamExt as _;
use lapin::options::BasicConsumeOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use malote::config::{Config, Secret};
use serde_json::Value;
use simulator::RecipientTruth;

use crate::report::Report;
use crate::world::World;

/// How long a queue is watched for what may be left in it.
const WATCHED_FOR: Duration = Duration::from_millis(500);

/// A message as its row says.
struct Message {
    tenant: String,
    state: String,
    has_cause: bool,
    captured: i64,
    /// How often Meta may have accepted it: once, and once more for each time that its tenant had it sent again.
    may_be_sent: i64,
}

/// Audits everything, and stops the nodes to see what they leave behind.
pub(crate) async fn audit(world: &mut World, report: &mut Report) -> anyhow::Result<()> {
    let meta = truth(world);
    let rows = messages(world).await?;
    for (invariant, query) in QUERIES {
        let found = world.sight.rows(query, &[]).await?;
        let found = found.iter().map(|row| row.get::<_, String>(0)).collect();
        report.look(*invariant, found);
    }
    let doubled = doubled(&meta, &rows);
    let lost = lost(&meta, &rows);
    let charged_twice: HashSet<&String> = rows
        .iter()
        .filter(|(_, message)| message.captured > message.may_be_sent)
        .map(|(recipient, _)| recipient)
        .collect();
    report.look(ONCE, doubled.values().cloned().collect());
    report.look(ACCOUNTED, lost.values().cloned().collect());
    report.look(BILLED, misbilled(&meta, &rows));
    report.look(
        KINDS,
        charged_twice
            .iter()
            .map(|one| format!("{one} was charged twice"))
            .collect(),
    );
    for struck in &mut report.struck {
        let of =
            |hit: &dyn Fn(&String) -> bool| struck.in_flight.iter().filter(|one| hit(&one.recipient)).count();
        let lost_here = of(&|one| lost.contains_key(one));
        let doubled_here = of(&|one| doubled.contains_key(one));
        let charged_here = of(&|one| charged_twice.contains(one));
        (struck.lost, struck.doubled, struck.charged_twice) = (lost_here, doubled_here, charged_here);
    }
    figures(world, report, &rows);
    let product = world.installation.verify_audit(None).await?;
    report.look(
        CHAIN,
        product
            .findings
            .iter()
            .map(|found| format!("{found:?}"))
            .collect(),
    );
    queues(world, report).await
}

fn truth(world: &World) -> HashMap<String, RecipientTruth> {
    let all = world.installation.simulator.truth_by_recipient();
    all.into_iter().map(|one| (one.recipient.clone(), one)).collect()
}

async fn messages(world: &World) -> anyhow::Result<BTreeMap<String, Message>> {
    let rows = world
        .sight
        .rows(
            "WITH attempts AS (
                SELECT tenant_id, id AS message_id, attempt_id FROM messages WHERE attempt_id IS NOT NULL
                UNION SELECT tenant_id, message_id, attempt_id FROM message_attempts),
             captured AS (
                SELECT a.tenant_id, a.message_id, count(*) AS many FROM attempts a
                JOIN ledger l ON l.tenant_id = a.tenant_id AND l.attempt_id = a.attempt_id
                    AND l.kind IN ('capture', 'recapture') GROUP BY a.tenant_id, a.message_id)
             SELECT m.recipient, m.tenant_id::text, m.state, m.error_code IS NOT NULL OR m.error_reason IS NOT NULL,
                coalesce(c.many, 0), 1 + CASE t.unknown_policy WHEN 'resend' THEN (SELECT count(*) FROM message_attempts a
                    WHERE a.tenant_id = m.tenant_id AND a.message_id = m.id AND a.outcome = 'unknown') ELSE 0 END
             FROM messages m JOIN tenants t ON t.id = m.tenant_id
             LEFT JOIN captured c ON c.tenant_id = m.tenant_id AND c.message_id = m.id",
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let recipient: String = row.try_get(0)?;
            let message = Message {
                tenant: row.try_get(1)?,
                state: row.try_get(2)?,
                has_cause: row.try_get::<_, Option<bool>>(3)?.unwrap_or_default(),
                captured: row.try_get(4)?,
                may_be_sent: row.try_get(5)?,
            };
            Ok((recipient.trim_start_matches('+').to_owned(), message))
        })
        .collect()
}

/// Whom Meta accepted more messages for than the tenant's policy allows.
fn doubled(
    meta: &HashMap<String, RecipientTruth>,
    rows: &BTreeMap<String, Message>,
) -> HashMap<String, String> {
    let allowed = |recipient: &String| rows.get(recipient).map_or(0, |message| message.may_be_sent);
    meta.values()
        .filter(|one| i64::from(one.accepted) > allowed(&one.recipient))
        .map(|one| {
            let what = format!("{} was sent to {} times", one.recipient, one.accepted);
            (one.recipient.clone(), what)
        })
        .collect()
}

/// Whom the books and Meta do not agree on.
fn lost(meta: &HashMap<String, RecipientTruth>, rows: &BTreeMap<String, Message>) -> HashMap<String, String> {
    let nobody = RecipientTruth::default();
    let mut lost = HashMap::new();
    for (recipient, message) in rows {
        let truth = meta.get(recipient).unwrap_or(&nobody);
        let arrived_here = ["delivered", "read"].contains(&message.state.as_str());
        let right = match message.state.as_str() {
            "delivered" | "read" => truth.delivered > 0,
            "failed" => truth.delivered == 0 && message.has_cause,
            // Nothing that Meta accepted stays without news here: its webhooks are repeated until they are taken.
            "unknown" | "dead" => truth.accepted == 0 && message.has_cause,
            "cancelled" | "suppressed" => truth.accepted == 0,
            _ => false,
        };
        if !right || (truth.delivered > 0) != arrived_here {
            let state = &message.state;
            lost.insert(
                recipient.clone(),
                format!("{recipient} is {state} here, and at Meta: {truth:?}"),
            );
        }
    }
    for recipient in meta.keys().filter(|recipient| !rows.contains_key(*recipient)) {
        lost.insert(
            recipient.clone(),
            format!("{recipient} was sent to and has no row"),
        );
    }
    lost
}

/// Tenants whose captured units are not their billable deliveries.
fn misbilled(meta: &HashMap<String, RecipientTruth>, rows: &BTreeMap<String, Message>) -> Vec<String> {
    let mut by_tenant: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for (recipient, message) in rows {
        let sums = by_tenant.entry(&message.tenant).or_default();
        sums.0 += message.captured;
        sums.1 += meta.get(recipient).map_or(0, |truth| i64::from(truth.billable));
    }
    by_tenant
        .into_iter()
        .filter(|(_, (captured, billable))| captured != billable)
        .map(|(tenant, (captured, billable))| {
            format!("tenant {tenant}: {captured} captured, {billable} billable at Meta")
        })
        .collect()
}

fn figures(world: &World, report: &mut Report, rows: &BTreeMap<String, Message>) {
    let of = |state: &str| rows.values().filter(|message| message.state == state).count() as i64;
    let truth = world.installation.simulator.truth();
    let at_meta = |figure: u64| i64::try_from(figure).unwrap_or(i64::MAX);
    report.figures = BTreeMap::from([
        ("recipients", rows.len() as i64),
        ("delivered or read", of("delivered") + of("read")),
        ("failed, with Meta's reason", of("failed")),
        ("unknown, kept for the tenant to decide", of("unknown")),
        ("dead", of("dead")),
        ("cancelled", of("cancelled")),
        ("suppressed", of("suppressed")),
        ("Meta: accepted", at_meta(truth.accepted)),
        ("Meta: answers lost", at_meta(truth.lost_answers)),
        ("Meta: transient errors", at_meta(truth.transient_errors)),
        ("Meta: throttled", at_meta(truth.throttled)),
        ("Meta: webhooks told again", at_meta(truth.webhooks_duplicated)),
        (
            "Meta: webhooks refused or cut",
            at_meta(truth.webhook_requests_failed),
        ),
        (
            "may be sent again by their tenant's policy",
            rows.values().map(|message| message.may_be_sent - 1).sum(),
        ),
        (
            "units captured",
            rows.values().map(|message| message.captured).sum(),
        ),
    ]);
}

/// Each gives one line of text for everything that is wrong.
const QUERIES: &[(Invariant, &str)] = &[
    (
        FINAL,
        "SELECT format('%s of tenant %s is %s', recipient, tenant_id, state) FROM messages
         WHERE state IN ('planned', 'queued', 'sending') LIMIT 100",
    ),
    (
        BALANCE,
        "WITH counted AS (SELECT k.campaign_id, s.state, sum(s.many) AS many FROM campaign_counts k, LATERAL (VALUES
            ('planned', planned), ('queued', queued), ('sending', sending), ('accepted', accepted), ('sent', sent),
            ('delivered', delivered), ('read', read), ('failed', failed), ('unknown', unknown), ('dead', dead),
            ('cancelled', cancelled), ('suppressed', suppressed)) AS s (state, many) GROUP BY k.campaign_id, s.state),
         actual AS (SELECT campaign_id, state, count(*) AS many FROM messages GROUP BY campaign_id, state)
         SELECT format('campaign %s: %s counted %s, there are %s', c.campaign_id, c.state, c.many, coalesce(a.many, 0))
         FROM counted c LEFT JOIN actual a ON a.campaign_id = c.campaign_id AND a.state = c.state
         WHERE c.many <> coalesce(a.many, 0)",
    ),
    (
        UNITS,
        "SELECT format('tenant %s: %s reserved, %s accounted for', l.tenant_id, l.reserved, coalesce(p.settled, 0))
         FROM (SELECT tenant_id, count(*) AS reserved FROM ledger WHERE kind = 'reserve' GROUP BY tenant_id) l
         LEFT JOIN (SELECT tenant_id, sum(held + captured + free + voided + expired) AS settled FROM pool_counters
            GROUP BY tenant_id) p ON p.tenant_id = l.tenant_id
         WHERE l.reserved <> coalesce(p.settled, 0)",
    ),
    (
        FOLD,
        "WITH attempts AS (SELECT tenant_id, attempt_id, min(period) AS period, min(segment) AS segment,
            coalesce(min(pool) FILTER (WHERE kind IN ('capture', 'recapture')), min(pool)) AS pool,
            coalesce(min(category) FILTER (WHERE kind IN ('capture', 'recapture')),
                min(category) FILTER (WHERE kind = 'reserve')) AS category, max(CASE kind WHEN 'reserve' THEN 1 WHEN 'expire' THEN 2 WHEN 'void' THEN 3
            WHEN 'free' THEN 4 WHEN 'capture' THEN 5 WHEN 'recapture' THEN 5 ELSE 0 END) AS reached
            FROM ledger WHERE attempt_id IS NOT NULL GROUP BY tenant_id, attempt_id),
         folded AS (SELECT tenant_id, period, segment, pool, category, count(*) FILTER (WHERE reached = 1) AS held,
            count(*) FILTER (WHERE reached = 5) AS captured, count(*) FILTER (WHERE reached = 4) AS free,
            count(*) FILTER (WHERE reached = 3) AS voided, count(*) FILTER (WHERE reached = 2) AS expired
            FROM attempts GROUP BY tenant_id, period, segment, pool, category)
         SELECT format('tenant %s: rows fold to %s, stored is %s', f.tenant_id,
            (f.held, f.captured, f.free, f.voided, f.expired), (p.held, p.captured, p.free, p.voided, p.expired))
         FROM folded f LEFT JOIN pool_counters p USING (tenant_id, period, segment, pool, category)
         WHERE (f.held, f.captured, f.free, f.voided, f.expired)
            IS DISTINCT FROM (p.held, p.captured, p.free, p.voided, p.expired)",
    ),
    (
        KINDS,
        "SELECT format('attempt %s has %s twice', attempt_id, kind) FROM ledger WHERE attempt_id IS NOT NULL
         GROUP BY tenant_id, attempt_id, kind HAVING count(*) > 1",
    ),
    (
        CHAIN,
        "SELECT format('tenant %s: rows %s to %s are %s, the head says %s', h.tenant_id, l.first, l.last, l.many, h.seq)
         FROM billing_head h JOIN (SELECT tenant_id, min(seq) AS first, max(seq) AS last, count(*) AS many FROM ledger
            GROUP BY tenant_id) l ON l.tenant_id = h.tenant_id
         WHERE l.first <> 1 OR l.last <> l.many OR l.last <> h.seq",
    ),
];

/// Stops the nodes, which hand everything over, and takes what is left in the queues: ticks may be, hints may not.
async fn queues(world: &mut World, report: &mut Report) -> anyhow::Result<()> {
    for node in 0..world.installation.nodes() {
        if world.installation.node_serves(node) {
            world.installation.stop_node(node).await?;
        }
    }
    let config = world.installation.config();
    let connection = connect(config).await?;
    let prefix = &config.broker.prefix;
    let inboxes = (0..malote::trial::PARTITIONS).map(|number| format!("{prefix}inbox.{number:02}"));
    let mut found = Vec::new();
    for queue in inboxes.chain([format!("{prefix}inbox.dead")]) {
        for left in left_in(&connection, &queue).await? {
            if left["kind"] != "tick" || queue.ends_with("dead") {
                found.push(format!("{queue} holds {left}"));
            }
        }
    }
    connection.close(200, "done".into()).await?;
    report.look(DRAINED, found);
    report.audited = true;
    Ok(())
}

async fn connect(config: &Config) -> anyhow::Result<Connection> {
    let broker = &config.broker;
    let password = Secret::read(&broker.password_file, "broker.password_file")?;
    let virtual_host = broker.virtual_host.replace('/', "%2f");
    let address = format!(
        "amqp://{}:{}@{}/{virtual_host}",
        broker.user,
        password.expose(),
        broker.address
    );
    Ok(Connection::connect(&address, ConnectionProperties::default()).await?)
}

async fn left_in(connection: &Connection, queue: &str) -> anyhow::Result<Vec<Value>> {
    let channel = connection.create_channel().await?;
    let mut consumer = channel
        .basic_consume(
            queue.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    let mut left = Vec::new();
    while let Ok(Some(delivery)) = tokio::time::timeout(WATCHED_FOR, consumer.next()).await {
        left.push(serde_json::from_slice(&delivery?.data).unwrap_or(Value::Null));
    }
    channel.close(200, "looked".into()).await?;
    Ok(left)
}
