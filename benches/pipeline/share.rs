//! What billing costs the pipeline: while it runs, the database is asked again and again what it is at, and each statement that it is
//! then at is billing's or not.

use std::time::{Duration, Instant};

use malote::storage::{Database, Role};
use malote::trial::Installation;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The time between two looks: no multiple of any interval of the server's.
const LOOK: Duration = Duration::from_millis(7);
/// The tables that are billing's alone.
const TABLES: [&str; 8] = [
    "ledger",
    "billing_head",
    "billing_periods",
    "period_segments",
    "pool_counters",
    "plan_assignments",
    "usage_warnings",
    "FROM plans",
];
/// Statements under way. The text of other roles' statements is not shown: what the API is at counts for nobody.
const UNDER_WAY: &str =
    "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'
    AND pid <> pg_backend_pid() AND usename = current_user";

/// Shares of what was seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    /// Of the time of all statements: billing's.
    pub(crate) of_statements: f64,
    /// Of the time that passed: in which a statement of billing's was under way.
    pub(crate) of_time: f64,
}

/// Somebody who keeps looking.
pub(crate) struct Looking {
    stop: oneshot::Sender<()>,
    seen: JoinHandle<anyhow::Result<Share>>,
}

impl Looking {
    /// Begins to look at an installation's database.
    pub(crate) async fn begin(installation: &Installation) -> anyhow::Result<Self> {
        let database = Database::connect(&installation.config().database, Role::AppSystem).await?;
        let (stop, stopped) = oneshot::channel();
        let seen = tokio::spawn(look(database, stopped));
        Ok(Self { stop, seen })
    }

    /// Stops, and gives what was seen.
    pub(crate) async fn end(self) -> anyhow::Result<Share> {
        // It may have failed already, and says so.
        let _ = self.stop.send(());
        self.seen.await?
    }
}

async fn look(database: Database, mut stopped: oneshot::Receiver<()>) -> anyhow::Result<Share> {
    let (mut looks, mut with_billing, mut statements, mut of_billing) = (0_u32, 0_u32, 0_usize, 0_usize);
    let mut connection = database.get().await?;
    let mut next = Instant::now();
    while stopped.try_recv().is_err() {
        let rows = connection.query(UNDER_WAY, &[]).await?;
        let billing = rows.iter().filter(|row| is_of_billing(row.get(0))).count();
        looks += 1;
        with_billing += u32::from(billing > 0);
        statements += rows.len();
        of_billing += billing;
        next += LOOK;
        tokio::time::sleep(next.saturating_duration_since(Instant::now())).await;
    }
    Ok(Share {
        of_statements: of_billing as f64 / statements.max(1) as f64,
        of_time: f64::from(with_billing) / f64::from(looks.max(1)),
    })
}

fn is_of_billing(statement: &str) -> bool {
    TABLES.iter().any(|table| statement.contains(table))
}
