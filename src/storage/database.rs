//! Connections and transactions: pooled, each statement prepared once per connection.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bb8::{ManageConnection, Pool, PooledConnection};
use bb8_postgres::PostgresConnectionManager;
use bytes::Bytes;
use domain::ids::TenantId;
use futures_util::SinkExt as _;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Row, Statement};

use super::{Role, StorageError, pools};
use crate::config::{self, Probe, Secret, SecretName, Secrets};

/// How PostgreSQL is to plan our statements.
///
/// Each time anew: a plan made while the tables were small is kept until they are analysed, up to a minute later, and meanwhile reads a
/// tenant's whole ledger for each row. Planning costs a few hundred microseconds for hundreds of rows.
///
/// With a row found by its key priced at 1.1 of one read in sequence, which is what it costs from memory or a solid disk. The default
/// of 4 is a turning disk's (PostgreSQL's documentation of `random_page_cost`).
const PLANNING: &str = "-c plan_cache_mode=force_custom_plan -c random_page_cost=1.1";

/// The parameters of a statement.
pub type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A pool of connections under one role. Clones share it.
#[derive(Clone, Debug)]
pub struct Database {
    pool: Pool<Manager>,
    most: u32,
    role: Role,
    manager: Manager,
}

/// A connection with its prepared statements.
struct Session {
    client: Client,
    statements: HashMap<&'static str, Statement>,
    secrets: Secrets,
    /// Somebody left in the middle of a transaction or a copy: nobody may use it again.
    left_open: bool,
}

/// How connections are made: with the password that is right at that moment.
#[derive(Clone, Debug)]
struct Manager {
    options: Arc<tokio_postgres::Config>,
    password: SecretName,
    secrets: Secrets,
}

impl Manager {
    async fn open(&self, password: &Secret) -> Result<Client, tokio_postgres::Error> {
        let mut options = tokio_postgres::Config::clone(&self.options);
        options.password(password.expose());
        PostgresConnectionManager::new(options, NoTls).connect().await
    }

    /// Tries the password that worked last, then the one that is to replace it: which of the two the server knows already depends on
    /// whether it was told before or after our source.
    async fn open_with_any(&self) -> Result<Client, StorageError> {
        let mut refused = StorageError::Unavailable("there is no password".to_owned());
        let passwords = self.secrets.to_try(self.password);
        for password in passwords.map_err(|error| StorageError::Unavailable(error.to_string()))? {
            match self.open(&password).await {
                Ok(client) => {
                    self.secrets.worked(self.password, &password);
                    return Ok(client);
                }
                Err(error) if error.code() == Some(&SqlState::INVALID_PASSWORD) => refused = error.into(),
                Err(error) => return Err(error.into()),
            }
        }
        Err(refused)
    }
}

impl ManageConnection for Manager {
    type Connection = Session;
    type Error = StorageError;

    async fn connect(&self) -> Result<Session, StorageError> {
        Ok(Session {
            client: self.open_with_any().await?,
            statements: HashMap::new(),
            secrets: self.secrets.clone(),
            left_open: false,
        })
    }

    async fn is_valid(&self, session: &mut Session) -> Result<(), StorageError> {
        if self.has_broken(session) {
            return Err(StorageError::Unavailable("the connection was closed".to_owned()));
        }
        Ok(())
    }

    fn has_broken(&self, session: &mut Session) -> bool {
        session.left_open || session.client.is_closed()
    }
}

impl Database {
    /// Opens a pool; the first connection is made at once, so that a wrong address or password shows at the start.
    ///
    /// # Errors
    /// When the password cannot be read, or the database does not let us in.
    pub async fn connect(settings: &config::Database, role: Role) -> anyhow::Result<Self> {
        settings.secrets.get(role.secret())?;
        let mut options = tokio_postgres::Config::new();
        options
            .host(&settings.host)
            .port(settings.port)
            .dbname(&settings.name)
            .user(role.as_str())
            .application_name("malote")
            .options(PLANNING)
            .connect_timeout(Duration::from_millis(settings.connect_timeout_ms))
            .tcp_user_timeout(Duration::from_secs(5))
            .keepalives_idle(Duration::from_secs(5));
        let manager = Manager {
            options: Arc::new(options),
            password: role.secret(),
            secrets: settings.secrets.clone(),
        };
        // Without the pool, which would try until its time is up and not tell why.
        manager.connect().await?;
        let pool = Pool::builder()
            .max_size(settings.pool_size)
            .min_idle(Some(1))
            .connection_timeout(Duration::from_millis(settings.connect_timeout_ms))
            .test_on_check_out(false)
            .build(manager.clone())
            .await?;
        Ok(Self {
            pool,
            most: settings.pool_size,
            role,
            manager,
        })
    }

    /// As whom this pool connects.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The secrets of the process.
    pub const fn secrets(&self) -> &Secrets {
        &self.manager.secrets
    }

    /// Lets the pool be looked at under a name.
    pub fn watched(&self, name: &'static str) -> pools::Watched {
        pools::Watched::new(name, self.most, &self.pool)
    }

    /// Tries a password of this pool's role at the database.
    pub fn probe(&self) -> Probe {
        let manager = self.manager.clone();
        Arc::new(move |password| {
            let manager = manager.clone();
            Box::pin(async move {
                let opened = manager.open(&password).await;
                opened
                    .map(drop)
                    .map_err(|error| StorageError::from(error).to_string())
            })
        })
    }

    /// Takes a connection for statements that are transactions of their own.
    ///
    /// # Errors
    /// When none becomes free in time.
    pub async fn get(&self) -> Result<Connection, StorageError> {
        loop {
            let session = self.pool.get_owned().await?;
            // Those that a restarted database left behind are thrown away here, and not one caller after the other fails on them.
            if !session.client.is_closed() {
                return Ok(Connection(session));
            }
        }
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// When no connection becomes free in time.
    pub async fn begin(&self) -> Result<Transaction, StorageError> {
        self.begin_with("BEGIN").await
    }

    /// Begins a transaction that sees and writes the rows of one tenant only (row-level security).
    ///
    /// # Errors
    /// When no connection becomes free in time.
    pub async fn begin_for(&self, tenant: TenantId) -> Result<Transaction, StorageError> {
        self.begin_with(&format!("BEGIN; SET LOCAL app.tenant_id = '{tenant}'"))
            .await
    }

    async fn begin_with(&self, script: &str) -> Result<Transaction, StorageError> {
        let mut connection = self.get().await?;
        connection.0.left_open = true;
        connection.0.client.batch_execute(script).await?;
        Ok(Transaction(connection))
    }
}

/// A connection outside of a transaction.
pub struct Connection(PooledConnection<'static, Manager>);

impl Connection {
    /// The secrets of the process, for what is sealed in rows.
    pub fn secrets(&self) -> &Secrets {
        &self.0.secrets
    }

    async fn prepared(&mut self, statement: &'static str) -> Result<Statement, StorageError> {
        let session = &mut *self.0;
        if let Some(prepared) = session.statements.get(statement) {
            return Ok(prepared.clone());
        }
        let prepared = session.client.prepare(statement).await?;
        session.statements.insert(statement, prepared.clone());
        Ok(prepared)
    }

    /// Runs a statement and gives its rows.
    ///
    /// # Errors
    /// What the database says.
    pub async fn query(
        &mut self,
        statement: &'static str,
        with: Parameters<'_>,
    ) -> Result<Vec<Row>, StorageError> {
        let prepared = self.prepared(statement).await?;
        Ok(self.0.client.query(&prepared, with).await?)
    }

    /// Runs a statement that gives at most one row.
    ///
    /// # Errors
    /// What the database says.
    pub async fn query_opt(
        &mut self,
        statement: &'static str,
        with: Parameters<'_>,
    ) -> Result<Option<Row>, StorageError> {
        let prepared = self.prepared(statement).await?;
        Ok(self.0.client.query_opt(&prepared, with).await?)
    }

    /// Runs a statement that gives exactly one row.
    ///
    /// # Errors
    /// What the database says.
    pub async fn query_one(
        &mut self,
        statement: &'static str,
        with: Parameters<'_>,
    ) -> Result<Row, StorageError> {
        let prepared = self.prepared(statement).await?;
        Ok(self.0.client.query_one(&prepared, with).await?)
    }

    /// Runs a statement and tells how many rows it touched.
    ///
    /// # Errors
    /// What the database says.
    pub async fn execute(
        &mut self,
        statement: &'static str,
        with: Parameters<'_>,
    ) -> Result<u64, StorageError> {
        let prepared = self.prepared(statement).await?;
        Ok(self.0.client.execute(&prepared, with).await?)
    }

    /// Runs statements one after the other in one round trip (pipelined), and tells how many rows each touched.
    ///
    /// # Errors
    /// What the database says of the first that failed.
    pub async fn execute_together(
        &mut self,
        work: &[(&'static str, Parameters<'_>)],
    ) -> Result<Vec<u64>, StorageError> {
        let mut prepared = Vec::with_capacity(work.len());
        for (statement, _) in work {
            prepared.push(self.prepared(statement).await?);
        }
        let client = &self.0.client;
        let running = prepared
            .iter()
            .zip(work)
            .map(|(statement, (_, with))| client.execute(statement, with));
        Ok(futures_util::future::try_join_all(running).await?)
    }

    /// Runs a statement that gives one number, without preparing it.
    ///
    /// # Errors
    /// What the database says.
    pub async fn count(&mut self, statement: &str) -> Result<i64, StorageError> {
        Ok(self.0.client.query_one(statement, &[]).await?.try_get(0)?)
    }

    /// Runs several statements without parameters.
    ///
    /// # Errors
    /// What the database says.
    pub async fn run_script(&mut self, script: &str) -> Result<(), StorageError> {
        Ok(self.0.client.batch_execute(script).await?)
    }
}

/// A transaction. Dropped before its end, it takes its connection with it, and the database undoes everything.
pub struct Transaction(Connection);

impl std::ops::Deref for Transaction {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl std::ops::DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.0
    }
}

impl Transaction {
    /// Makes everything since the beginning last.
    ///
    /// # Errors
    /// What the database says. When the connection broke, nobody knows whether it happened.
    pub async fn commit(self) -> Result<(), StorageError> {
        self.end("COMMIT").await
    }

    /// Undoes everything since the beginning.
    ///
    /// # Errors
    /// What the database says.
    pub async fn rollback(self) -> Result<(), StorageError> {
        self.end("ROLLBACK").await
    }

    async fn end(mut self, how: &str) -> Result<(), StorageError> {
        self.0.0.client.batch_execute(how).await?;
        self.0.0.left_open = false;
        Ok(())
    }

    /// Begins a `COPY ... FROM STDIN`.
    ///
    /// # Errors
    /// What the database says.
    pub async fn copy_in(&mut self, statement: &'static str) -> Result<CopyIn, StorageError> {
        let sink = self.0.0.client.copy_in(statement).await?;
        Ok(CopyIn(Box::pin(sink)))
    }
}

/// Rows on their way into a table.
pub struct CopyIn(Pin<Box<tokio_postgres::CopyInSink<Bytes>>>);

impl CopyIn {
    /// Sends rows in the text format of `COPY`; waits while the database is busy.
    ///
    /// # Errors
    /// What the database says.
    pub async fn send(&mut self, rows: Bytes) -> Result<(), StorageError> {
        Ok(self.0.send(rows).await?)
    }

    /// Ends the rows and tells how many there were.
    ///
    /// # Errors
    /// What the database says.
    pub async fn finish(mut self) -> Result<u64, StorageError> {
        Ok(self.0.as_mut().finish().await?)
    }
}
