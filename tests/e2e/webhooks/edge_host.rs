//! `malote relay` as a process: killed, started again, stopped.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use malote::trial::{Client, eventually};
use serde_json::Value;
use tokio::process::{Child, Command};
use uuid::Uuid;

use super::scene::RELAY_KEY;
use crate::support::SOON;

/// An edge host with a relay on it. Its files outlive the process.
pub(crate) struct EdgeHost {
    directory: PathBuf,
    forward_to: String,
    settings: Vec<(&'static str, String)>,
    child: Option<Child>,
    pub(crate) public: Client,
    internal: Client,
}

impl EdgeHost {
    /// Starts a relay that forwards to an address.
    pub(crate) async fn start(forward_to: &str, settings: &[(&'static str, &str)]) -> Self {
        let directory = std::env::temp_dir().join(format!("malote_relay_{}", Uuid::now_v7().simple()));
        std::fs::create_dir_all(&directory).expect("a directory");
        std::fs::write(directory.join("key"), RELAY_KEY).expect("a file");
        let nowhere = Client::new("127.0.0.1:1");
        let mut host = Self {
            directory,
            forward_to: format!("http://{forward_to}/webhooks/relay"),
            settings: settings
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
            child: None,
            public: nowhere.clone(),
            internal: nowhere,
        };
        host.start_again().await;
        host
    }

    fn command(&self, forward_to: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_malote"));
        let at = |name: &str| self.directory.join(name).display().to_string();
        command
            .arg("relay")
            .env("MALOTE_RELAY__PUBLIC_ADDRESS", "127.0.0.1:0")
            .env("MALOTE_RELAY__INTERNAL_ADDRESS", "127.0.0.1:0")
            .env("MALOTE_RELAY__FORWARD_TO", forward_to)
            .env("MALOTE_RELAY__KEY_FILE", at("key"))
            .env("MALOTE_RELAY__DIRECTORY", at("log"))
            .envs(self.settings.iter().cloned())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Lets the relay forward to another address, from its next start on.
    pub(crate) fn forward_to(&mut self, address: &str) {
        self.forward_to = format!("http://{address}/webhooks/relay");
    }

    /// Starts the relay, after it ended.
    pub(crate) async fn start_again(&mut self) {
        let announced = self.directory.join("addresses.json");
        let _ = std::fs::remove_file(&announced);
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.join("relay.log"));
        let child = self
            .command(&self.forward_to)
            .arg("--announce")
            .arg(&announced)
            .stderr(log.expect("a log"))
            .spawn()
            .expect("a relay");
        let addresses = eventually("the relay serves", SOON, || async { Ok(read(&announced)) })
            .await
            .expect("a relay that serves");
        let client = |name: &str| Client::new(addresses[name].as_str().expect("an address"));
        (self.public, self.internal) = (client("public"), client("internal"));
        self.child = Some(child);
    }

    /// Ends the relay as `kill -9` does.
    pub(crate) async fn kill(&mut self) {
        let mut child = self.child.take().expect("a relay");
        child.kill().await.expect("killed");
    }

    /// Asks the relay to stop, and gives its exit code.
    pub(crate) async fn stop(&mut self) -> Option<i32> {
        let mut child = self.child.take().expect("a relay");
        let id = child.id().expect("a process").to_string();
        let told = Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .await
            .expect("kill");
        assert!(told.success());
        child.wait().await.expect("an end").code()
    }

    /// Runs `malote relay replay` on this host, and gives what it printed.
    pub(crate) async fn replay(&self, forward_to: &str, since: &str) -> String {
        let target = format!("http://{forward_to}/webhooks/relay");
        let output = self
            .command(&target)
            .args(["replay", "--since", since])
            .output()
            .await
            .expect("a replay");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{printed}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        printed
    }

    /// Reads a metric of the relay.
    pub(crate) async fn metric(&self, name: &str) -> anyhow::Result<u64> {
        let text = self.internal.get_text("/metrics").await?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = line.ok_or_else(|| anyhow::anyhow!("no metric {name} in {text}"))?;
        Ok(value.parse()?)
    }

    /// Tells whether the relay would take the next delivery.
    pub(crate) async fn is_ready(&self) -> bool {
        self.internal.get("/readyz").await.is_ok()
    }

    /// Waits until everything was forwarded.
    pub(crate) async fn drained(&self) {
        eventually("everything is forwarded", 4 * SOON, || async {
            Ok((self.metric("malote_relay_pending").await? == 0).then_some(()))
        })
        .await
        .expect("forwarded");
    }

    /// Forgets everything.
    pub(crate) fn discard(self) {
        std::fs::remove_dir_all(&self.directory).expect("removed");
    }
}

fn read(announced: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(announced).ok()?).ok()
}
