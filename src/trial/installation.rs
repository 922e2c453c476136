//! An installation of its own: made, killed, started again, thrown away.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use domain::ids::TenantId;
use simulator::Simulator;
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::nodes::Node;
use super::process::{Server, ServerProgram};
use super::{Client, eventually};
use crate::broker::Broker;
use crate::config::{self, Config, SecretName};
use crate::storage::anchors::Anchored;
use crate::storage::audit::{self, Report};
use crate::storage::{Database, Role, migrations, scratch};

/// Inbox queues of an installation that is thrown away.
pub const PARTITIONS: u16 = 4;

/// The name of the first server's node.
const FIRST_NODE: &str = "server";
/// Connections of the auditor: a check of the books holds two at once. All installations share the few that its role may have.
const AUDITOR_CONNECTIONS: u32 = 2;

/// What an installation should be like.
pub struct Options {
    /// A short name, for its database, queues and files.
    pub name: &'static str,
    /// The program whose `serve` is run.
    pub program: PathBuf,
    /// How its Meta behaves.
    pub simulator: simulator::config::Config,
    /// Settings of the server beyond the usual: variables and values.
    pub settings: Vec<(String, String)>,
}

/// A whole Malote that belongs to whoever made it.
pub struct Installation {
    /// The operators' API.
    pub admin: Client,
    /// The tenants' API, without a key.
    pub public: Client,
    /// Its Meta.
    pub simulator: Simulator,
    pub(super) nodes: Vec<Node>,
    config: Config,
    auditor: OnceCell<Database>,
    directory: PathBuf,
    admin_key: String,
}

impl Installation {
    /// Makes a database, a simulated Meta and a server. The settings of this process name the servers.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        Self::start_at(options, None).await
    }

    /// As [`Installation::start`], with the schema as it was after a version.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start_at(options: Options, schema: Option<i32>) -> anyhow::Result<Self> {
        let id = Uuid::now_v7().simple().to_string();
        let unique = format!("trial_{}_{}", options.name, &id[20..]);
        let mut config =
            config::load(None, None).context("settings (is the stack up? eval \"$(dev/stack env)\")")?;
        scratch::create_database(&config.database, &unique).await?;
        config.database.name.clone_from(&unique);
        config.broker.prefix = format!("{unique}.");
        let owner = Database::connect(&config.database, Role::MigrationAdmin).await?;
        migrations::up(&owner, schema, |_| {}).await?;
        let simulator = start_simulator(&config, options.simulator).await?;
        let directory = std::env::temp_dir().join(&unique);
        std::fs::create_dir_all(&directory)?;
        let mut variables = variables(&unique, &simulator);
        variables.extend(options.settings);
        let program = ServerProgram {
            program: options.program,
            variables,
            directory: directory.clone(),
            node: FIRST_NODE.to_owned(),
        };
        let admin_key = config
            .admin
            .secrets
            .get(SecretName::AdminKey)?
            .expose()
            .to_owned();
        let nowhere = Client::new("127.0.0.1:1");
        let mut installation = Self {
            admin: nowhere.clone(),
            public: nowhere,
            simulator,
            nodes: vec![Node::new(program).await?],
            config,
            auditor: OnceCell::new(),
            directory,
            admin_key,
        };
        installation.start_node(0).await?;
        Ok(installation)
    }

    /// Ends the server as `kill -9` does, and starts it again.
    ///
    /// # Errors
    /// When it cannot be killed, or does not come back.
    pub async fn kill_and_restart(&mut self) -> anyhow::Result<()> {
        self.kill_node(0).await?;
        self.start_node(0).await
    }

    /// The server's process id.
    pub fn server_id(&self) -> Option<u32> {
        self.nodes[0].server.as_ref().and_then(Server::id)
    }

    /// Where the server logs.
    pub fn log(&self) -> PathBuf {
        self.node_log(0)
    }

    /// Where its servers log.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its settings, for whoever looks at its servers from outside.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// A command of the same program on this installation, not yet started.
    pub fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(&self.nodes[0].program.program);
        let variables = self.nodes[0].program.variables.iter().cloned();
        command.args(arguments).envs(variables);
        command
    }

    /// The key of the operators' API.
    pub fn admin_key(&self) -> &str {
        &self.admin_key
    }

    /// The database as an auditor sees it, opened by whoever looks first and kept until the end: a wait looks twenty times a second.
    pub(super) async fn auditor(&self) -> anyhow::Result<&Database> {
        let open = || async {
            let settings = config::Database {
                pool_size: AUDITOR_CONNECTIONS,
                ..self.config.database.clone()
            };
            Database::connect(&settings, Role::ReadonlyAudit).await
        };
        self.auditor.get_or_try_init(open).await
    }

    /// Checks the books of a tenant, or of all, from their rows alone.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn verify_audit(&self, tenant: Option<TenantId>) -> anyhow::Result<Report> {
        Ok(audit::verify(self.auditor().await?, tenant, &Anchored::new()).await?)
    }

    /// Counts rows, as an auditor sees them: `from` is what follows FROM.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn count_rows(&self, from: &str) -> anyhow::Result<i64> {
        Ok(scratch::count_rows(self.auditor().await?, from).await?)
    }

    /// Waits until every webhook has been answered and every stored event has been applied.
    ///
    /// # Errors
    /// When that does not happen in time.
    pub async fn settle(&self, within: Duration) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.simulator.wait_until_idle(within).await,
            "webhooks are still waiting after {within:?}"
        );
        eventually("every event is applied", within, || async {
            Ok((scratch::unapplied_events(self.auditor().await?).await? == 0).then_some(()))
        })
        .await
    }

    /// Stops the servers gracefully and throws everything away.
    ///
    /// # Errors
    /// When a server does not stop as it should, or answered something that its document does not name.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        if self.node_serves(0) {
            let metrics = self.admin.get_text("/metrics").await?;
            let counted = metrics
                .lines()
                .find_map(|line| line.strip_prefix("malote_api_undocumented_answers_total "));
            anyhow::ensure!(
                counted == Some("0"),
                "answers that docs/openapi.json does not name: {counted:?}; see {}",
                self.log().display()
            );
        }
        for number in 0..self.nodes() {
            if self.node_serves(number) {
                let log = self.node_log(number);
                self.stop_node(number)
                    .await
                    .with_context(|| format!("see {}", log.display()))?;
            }
        }
        self.simulator.stop().await;
        drop(self.auditor);
        Broker::new(&self.config.broker, PARTITIONS)?.discard().await?;
        let name = self.config.database.name.clone();
        scratch::drop_database(&self.config.database, &name).await?;
        std::fs::remove_dir_all(&self.directory)?;
        Ok(())
    }
}

async fn start_simulator(
    config: &Config,
    mut settings: simulator::config::Config,
) -> anyhow::Result<Simulator> {
    let secrets = config.meta.app_secrets()?;
    let secret = secrets.first().context("there is no app secret")?;
    secret.expose().clone_into(&mut settings.app_secret);
    Ok(Simulator::start(settings).await?)
}

fn variables(unique: &str, simulator: &Simulator) -> Vec<(String, String)> {
    let set = |name: &str, value: String| (name.to_owned(), value);
    vec![
        set("MALOTE_DATABASE__NAME", unique.to_owned()),
        set("MALOTE_BROKER__PREFIX", format!("{unique}.")),
        set("MALOTE_REDIS__PREFIX", format!("{unique}:")),
        set("MALOTE_PIPELINE__PARTITIONS", PARTITIONS.to_string()),
        set("MALOTE_META__BASE_URL", format!("http://{}", simulator.address())),
    ]
}
