//! The servers whose passwords are changed, as their operator would, and the files in which the process looks for its secrets.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use malote::config::{self, Config};
use serde_json::json;
use tokio::process::Command;
use tokio_postgres::NoTls;

/// Which file each setting names.
const FILES: &[(&str, &str)] = &[
    ("MALOTE_DATABASE__APP_RW_PASSWORD_FILE", "app_rw"),
    ("MALOTE_DATABASE__APP_SYSTEM_PASSWORD_FILE", "app_system"),
    ("MALOTE_REDIS__PASSWORD_FILE", "redis"),
    ("MALOTE_BROKER__PASSWORD_FILE", "rabbitmq"),
    ("MALOTE_ADMIN__KEY_FILE", "admin"),
    ("MALOTE_META__APP_SECRET_FILE", "app_secret"),
    ("MALOTE_META__VERIFY_TOKEN_FILE", "verify_token"),
    ("MALOTE_SECRETS__TOKEN_KEYS_FILE", "token_keys"),
];

/// The servers of the drill.
pub(crate) struct Servers {
    config: Config,
    /// Where the stack keeps its passwords: also the superuser's, which the process does not know.
    held: PathBuf,
    management: String,
    /// What was ever written.
    seen: std::sync::Mutex<Vec<String>>,
}

impl Servers {
    /// Finds those of `dev/stack --instance rotation`, and no others: their passwords will change.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let wanted = "run `make rotation`: it makes servers whose passwords may be changed";
        anyhow::ensure!(
            config::stack_variable("INSTANCE").as_deref() == Some("rotation"),
            wanted
        );
        let config = config::load(None, None)?;
        let file = PathBuf::from(&config.database.migration_password_file);
        Ok(Self {
            held: file.parent().context(wanted)?.to_owned(),
            management: config::stack_variable("MANAGEMENT").context(wanted)?,
            config,
            seen: std::sync::Mutex::default(),
        })
    }

    /// The stack's own files are the process's: they are changed in place, and stay true for whoever starts the servers again.
    pub(crate) fn copy_of_secrets(&self) -> anyhow::Result<PathBuf> {
        for (_, name) in FILES {
            self.read(name)
                .with_context(|| format!("{name} in {}", self.held.display()))?;
        }
        Ok(self.held.clone())
    }

    pub(crate) fn settings(&self, directory: &Path) -> Vec<(String, String)> {
        let setting = |&(variable, name): &(&str, &str)| {
            (variable.to_owned(), directory.join(name).display().to_string())
        };
        FILES.iter().map(setting).collect()
    }

    pub(crate) fn read(&self, name: &str) -> anyhow::Result<String> {
        let value = std::fs::read_to_string(self.held.join(name))?.trim().to_owned();
        self.seen.lock().expect("no panic").push(value.clone());
        Ok(value)
    }

    /// Writes beside the file and moves it into place, as the runbook says.
    pub(crate) fn write(&self, name: &str, value: &str) -> anyhow::Result<()> {
        let (file, beside) = (self.held.join(name), self.held.join(format!("{name}.part")));
        std::fs::write(&beside, format!("{value}\n"))?;
        std::fs::rename(&beside, &file)?;
        self.read(name).map(drop)
    }

    /// Every value that was in use, but for lists of keys, line by line.
    pub(crate) fn all_values(&self) -> Vec<String> {
        let seen = self.seen.lock().expect("no panic");
        seen.iter()
            .flat_map(|value| value.lines())
            .map(str::to_owned)
            .collect()
    }

    async fn postgres(&self, role: &str, password: &str) -> anyhow::Result<tokio_postgres::Client> {
        let (client, connection) = tokio_postgres::Config::new()
            .host(&self.config.database.host)
            .port(self.config.database.port)
            .dbname("malote")
            .user(role)
            .password(password)
            .connect(NoTls)
            .await?;
        tokio::spawn(connection);
        Ok(client)
    }

    pub(crate) async fn set_role_password(&self, role: &str, password: &str) -> anyhow::Result<()> {
        let superuser = self.postgres("postgres", &self.read("superuser")?).await?;
        Ok(superuser
            .batch_execute(&format!("ALTER ROLE {role} PASSWORD '{password}'"))
            .await?)
    }

    pub(crate) async fn role_password_works(&self, role: &str, password: &str) -> bool {
        self.postgres(role, password).await.is_ok()
    }

    pub(crate) async fn set_redis_password(&self, password: &str) -> anyhow::Result<()> {
        let seen = self.seen.lock().expect("no panic").clone();
        let (host, port) = self.config.redis.address.split_once(':').context("an address")?;
        // The file has the new one already; the server knows the one before.
        for old in seen.iter().rev().filter(|old| *old != password) {
            let done = Command::new("redis-cli")
                .args(["-h", host, "-p", port, "config", "set", "requirepass", password])
                .env("REDISCLI_AUTH", old)
                .output()
                .await?;
            if String::from_utf8_lossy(&done.stdout).trim() == "OK" {
                return Ok(());
            }
        }
        anyhow::bail!("Redis takes none of its old passwords")
    }

    /// Through the management's API, with the password before.
    pub(crate) async fn set_broker_password(&self, password: &str) -> anyhow::Result<()> {
        let user = &self.config.broker.user;
        let seen = self.seen.lock().expect("no panic").clone();
        let body = json!({"password": password, "tags": "administrator"}).to_string();
        for old in seen
            .iter()
            .rev()
            .filter(|old| *old != password && !old.contains(':'))
        {
            let done = Command::new("curl")
                .args([
                    "-sSf",
                    "-X",
                    "PUT",
                    "-u",
                    &format!("{user}:{old}"),
                    "-H",
                    "content-type: application/json",
                    "-d",
                    &body,
                ])
                .arg(format!("http://{}/api/users/{user}", self.management))
                .output()
                .await?;
            if done.status.success() {
                return Ok(());
            }
        }
        anyhow::bail!("the broker takes none of its old passwords")
    }
}
