//! Reservations: what the committer claims and reserves when one tenant alone keeps it busy, and when 200 do, beside bare row batches of
//! the same size. A database of its own; nothing is sent.

use std::time::{Duration, Instant};

use actors::ports::{Claim, Ledger as _, TenantCommit};
use domain::audit_chain::genesis;
use domain::ids::{AttemptId, MessageId, TenantId};
use domain::partition::Epoch;
use malote::config::{self, Config};
use malote::storage::committer::Committer;
use malote::storage::{Database, Role, migrations, scratch};
use malote::trial::Latencies;
use uuid::Uuid;

use crate::rows;
use crate::scratch::Scratch;

/// Messages of one proposal of a busy tenant: what an owner proposes at most.
const PROPOSED: usize = 200;
/// Tenants that share the committer.
pub(crate) const MANY: usize = 200;
/// Messages of one proposal where many tenants share it.
const PROPOSED_OF_MANY: usize = 20;
const EPOCH: Epoch = Epoch(1);

const TENANTS: &str = "WITH new AS (SELECT * FROM unnest($1::uuid[], $2::bytea[]) AS w (id, genesis)),
    made AS (INSERT INTO tenants (id, name, timezone) SELECT id, 'busy', 'UTC' FROM new RETURNING id),
    planned AS (INSERT INTO plan_assignments (tenant_id, effective_from, plan_id, timing)
        SELECT m.id, now(), p.id, 'now' FROM made m, plans p)
    INSERT INTO billing_head (tenant_id, head_hash) SELECT n.id, n.genesis FROM new n JOIN made m ON m.id = n.id";
const PLAN: &str =
    "INSERT INTO plans (id, code, version, name, currency, currency_exponent, fee_minor, allowance_units, policy)
    VALUES (gen_random_uuid(), 'busy', 1, 'busy', 'EUR', 2, 0, 0, 'soft')";
const MESSAGES: &str = "INSERT INTO messages (tenant_id, id, sender_id, recipient, category, body, state, queued_at)
    SELECT $1, w.id, $1, '+3519' || lpad(w.number::text, 8, '0'), 'utility', '{\"text\": \"hello\"}', 'queued', now()
    FROM unnest($2::uuid[]) WITH ORDINALITY AS w (id, number)";

/// Reservations of one round.
pub(crate) struct Round {
    /// Messages of each of the three.
    pub(crate) messages: usize,
    /// Bare row batches.
    pub(crate) bare: Duration,
    /// One tenant.
    pub(crate) hot: Duration,
    /// Many tenants.
    pub(crate) many: Duration,
    /// How long a proposal took where many tenants share the committer.
    pub(crate) waits: Latencies,
}

/// A migrated database with a committer.
pub(crate) struct Reservations {
    config: Config,
    database: Database,
    committer: Committer,
}

/// A tenant with queued messages.
struct Busy {
    tenant: TenantId,
    messages: Vec<MessageId>,
}

impl Reservations {
    /// Makes the database.
    pub(crate) async fn open() -> anyhow::Result<Self> {
        let mut config = config::load(None, None)?;
        let name = format!("reserve_{}", &Uuid::now_v7().simple().to_string()[20..]);
        scratch::create_database(&config.database, &name).await?;
        config.database.name = name;
        let owner = Database::connect(&config.database, Role::MigrationAdmin).await?;
        migrations::up(&owner, None, |_| {}).await?;
        let database = Database::connect(&config.database, Role::AppSystem).await?;
        database.get().await?.execute(PLAN, &[]).await?;
        let committer = Committer::start(database.clone());
        Ok(Self {
            config,
            database,
            committer,
        })
    }

    /// Throws the database away.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        drop((self.committer, self.database));
        scratch::drop_database(&self.config.database, &self.config.database.name).await
    }

    /// Does all three with so many messages.
    pub(crate) async fn round(&self, scratch: &Scratch, messages: usize) -> anyhow::Result<Round> {
        let each = messages.div_ceil(MANY);
        let messages = each * MANY;
        let (mut hot, many) = (self.fill(1, messages).await?, self.fill(MANY, each).await?);
        let hot = hot.swap_remove(0);
        let bare = bare(scratch, messages).await?;
        let begun = Instant::now();
        reserve(self.committer.clone(), hot, PROPOSED).await?;
        let hot = begun.elapsed();
        let begun = Instant::now();
        let all = many
            .into_iter()
            .map(|busy| tokio::spawn(reserve(self.committer.clone(), busy, PROPOSED_OF_MANY)));
        let mut waits = Vec::new();
        for tenant in futures_util::future::join_all(all).await {
            waits.extend(tenant??);
        }
        Ok(Round {
            messages,
            bare,
            hot,
            many: begun.elapsed(),
            waits: Latencies::new(waits)?,
        })
    }

    async fn fill(&self, tenants: usize, each: usize) -> anyhow::Result<Vec<Busy>> {
        let made: Vec<TenantId> = (0..tenants).map(|_| TenantId(Uuid::now_v7())).collect();
        let ids: Vec<Uuid> = made.iter().map(|tenant| tenant.0).collect();
        let hashes: Vec<Vec<u8>> = made.iter().map(|tenant| genesis(*tenant).to_vec()).collect();
        let mut connection = self.database.get().await?;
        connection.execute(TENANTS, &[&ids, &hashes]).await?;
        let mut filled = Vec::new();
        for tenant in made {
            let messages: Vec<Uuid> = (0..each).map(|_| Uuid::now_v7()).collect();
            connection.execute(MESSAGES, &[&tenant.0, &messages]).await?;
            let messages = messages.into_iter().map(MessageId).collect();
            filled.push(Busy { tenant, messages });
        }
        Ok(filled)
    }
}

/// Reserves for all messages of a tenant, a proposal after the other, as its owner does. Gives how long each took.
async fn reserve(committer: Committer, busy: Busy, proposed: usize) -> anyhow::Result<Vec<Duration>> {
    let mut head = committer.take_over(busy.tenant, EPOCH).await?;
    let mut waits = Vec::new();
    for messages in busy.messages.chunks(proposed) {
        let claims = messages.iter().map(|message| Claim {
            message: *message,
            attempt: AttemptId(Uuid::now_v7()),
        });
        let work = TenantCommit {
            tenant: busy.tenant,
            epoch: EPOCH,
            expected_seq: head.seq,
            claims: claims.collect(),
            deadline: Duration::from_mins(10),
            events: Vec::new(),
        };
        let begun = Instant::now();
        let committed = committer.commit(work).await?;
        waits.push(begun.elapsed());
        anyhow::ensure!(committed.claimed.len() == messages.len(), "not all were claimed");
        head = committed.head;
    }
    Ok(waits)
}

/// Inserts as many rows in batches of the same size, and nothing else.
async fn bare(scratch: &Scratch, messages: usize) -> anyhow::Result<Duration> {
    let claims: Vec<rows::Claim> = (0..messages).map(rows::Claim::numbered).collect();
    let begun = Instant::now();
    for batch in claims.chunks(PROPOSED) {
        rows::claim(&scratch.database, batch).await?;
    }
    Ok(begun.elapsed())
}
