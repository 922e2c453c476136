//! The server as a child process: started, killed as a power cut would, frozen, thawed, started again.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use tokio::process::{Child, Command};

use super::eventually;

/// How long a server may take to serve; it may have to wait for others that start with it.
const SERVES_WITHIN: Duration = Duration::from_secs(150);
/// How long a server may take to stop.
const STOPS_WITHIN: Duration = Duration::from_secs(40);

/// How a server is started.
#[derive(Clone, Debug)]
pub struct ServerProgram {
    /// The program; its `serve` command is run.
    pub program: PathBuf,
    /// What it gets beside the environment of this process.
    pub variables: Vec<(String, String)>,
    /// Where it writes its log and its addresses.
    pub directory: PathBuf,
    /// Its node's name, which tells its files from those of others.
    pub node: String,
}

/// A running server.
pub(super) struct Server {
    child: Child,
    pub(super) addresses: Addresses,
}

/// What a server announces.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Addresses {
    pub(super) public: String,
    pub(super) internal: String,
}

impl ServerProgram {
    /// Starts a server and waits until it serves.
    pub(super) async fn start(&self) -> anyhow::Result<Server> {
        let announced = self.directory.join(format!("{}.json", self.node));
        if announced.exists() {
            std::fs::remove_file(&announced)?;
        }
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.log())?;
        let mut child = Command::new(&self.program)
            .args(["serve", "--announce"])
            .arg(&announced)
            .envs(self.variables.iter().cloned())
            .env("MALOTE_NODE__NAME", &self.node)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| self.program.display().to_string())?;
        let addresses = eventually("the server serves", SERVES_WITHIN, || {
            // What has ended will not serve any more: that ends the wait.
            let ended = match child.try_wait() {
                Ok(None) => None,
                Ok(Some(status)) => Some(Err(anyhow::anyhow!("it ended: {status}"))),
                Err(error) => Some(Err(error.into())),
            };
            let announced = announced.clone();
            async move { Ok(ended.or_else(|| read(&announced).map(Ok))) }
        })
        .await
        .flatten()
        .with_context(|| format!("its log: {}", tail(&self.log())))?;
        Ok(Server { child, addresses })
    }

    /// Where the server logs.
    pub fn log(&self) -> PathBuf {
        self.directory.join(format!("{}.log", self.node))
    }
}

fn read(announced: &Path) -> Option<Addresses> {
    serde_json::from_slice(&std::fs::read(announced).ok()?).ok()
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let from = text.char_indices().rev().nth(2_000).map_or(0, |(at, _)| at);
    text[from..].to_owned()
}

impl Server {
    /// The process's id.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends the process as `kill -9` does: it gets no chance to finish anything.
    pub(super) async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("kill")
    }

    /// Sends a signal to the process.
    pub(super) async fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let id = self.child.id().context("the server has ended")?.to_string();
        let told = Command::new("kill").args([signal, &id]).status().await?;
        anyhow::ensure!(told.success(), "kill {signal} {id}: {told}");
        Ok(())
    }

    /// Whether the process has ended by itself.
    pub(super) fn has_ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Asks the process to stop and waits until it has.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.signal("-TERM").await?;
        let status = tokio::time::timeout(STOPS_WITHIN, self.child.wait()).await;
        let status = status.with_context(|| format!("the server did not stop within {STOPS_WITHIN:?}"))??;
        anyhow::ensure!(status.success(), "the server stopped with {status}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_ends_is_not_waited_for() {
        let name = format!("malote-ends-{}", uuid::Uuid::now_v7().simple());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).expect("a directory");
        let program = ServerProgram {
            program: "false".into(),
            variables: Vec::new(),
            directory: directory.clone(),
            node: "server".to_owned(),
        };
        let started = tokio::time::timeout(SERVES_WITHIN / 5, program.start());
        let error = started.await.expect("at once").err().expect("it does not serve");
        assert!(format!("{error:#}").contains("it ended"), "{error:#}");
        std::fs::remove_dir_all(directory).expect("removed");
    }
}
