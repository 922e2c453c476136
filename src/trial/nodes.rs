//! The servers of an installation, one or several: each a node with a name and ports of its own, which it keeps over restarts.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;
use tokio::net::TcpListener;

use super::process::{Server, ServerProgram};
use super::{Client, Installation};

/// Ports for servers: below those that Linux hands out to outgoing connections, any of which may be in use at a restart.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Ports that are tried before there is said to be none.
const TRIES: usize = 200;
/// The turn of the next port: between being found free and being listened at none is given again, to whichever installation.
static TURN: LazyLock<AtomicU32> =
    LazyLock::new(|| AtomicU32::new(rand::random_range(0..u32::from(PORTS.end))));

/// A server of an installation.
pub(super) struct Node {
    pub(super) program: ServerProgram,
    pub(super) server: Option<Server>,
    pub(super) is_frozen: bool,
}

impl Node {
    /// Makes a node that does not run yet.
    pub(super) async fn new(mut program: ServerProgram) -> anyhow::Result<Self> {
        for name in ["MALOTE_HTTP__PUBLIC_ADDRESS", "MALOTE_HTTP__INTERNAL_ADDRESS"] {
            let address = format!("127.0.0.1:{}", free_port().await?);
            program.variables.push((name.to_owned(), address));
        }
        Ok(Self {
            program,
            server: None,
            is_frozen: false,
        })
    }

    fn serves(&self) -> bool {
        self.server.is_some() && !self.is_frozen
    }

    fn running(&self) -> anyhow::Result<&Server> {
        let name = &self.program.node;
        self.server
            .as_ref()
            .with_context(|| format!("the node {name} is not running"))
    }
}

async fn free_port() -> anyhow::Result<u16> {
    for _ in 0..TRIES {
        let turn = TURN.fetch_add(1, Ordering::Relaxed) % (PORTS.len() as u32);
        let port = PORTS.start + turn as u16;
        if TcpListener::bind(("127.0.0.1", port)).await.is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("no port is free between {} and {}", PORTS.start, PORTS.end)
}

impl Installation {
    /// Adds a server of this node name, with settings beyond those of the first, and starts it. Gives its number; the first one has 0.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn add_node(&mut self, name: &str, settings: &[(&str, &str)]) -> anyhow::Result<usize> {
        let program = self.nodes[0].program.program.clone();
        self.add_node_of(program, name, settings).await
    }

    /// As [`Installation::add_node`], of another program.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn add_node_of(
        &mut self,
        program: PathBuf,
        name: &str,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<usize> {
        let mut program = ServerProgram {
            program,
            ..self.nodes[0].program.clone()
        };
        program.node = name.to_owned();
        let own = settings
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()));
        program.variables.extend(own);
        self.nodes.push(Node::new(program).await?);
        let number = self.nodes.len() - 1;
        self.start_node(number).await?;
        Ok(number)
    }

    /// How many servers there are, running or not.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The name of a node.
    pub fn node_name(&self, number: usize) -> &str {
        &self.nodes[number].program.node
    }

    /// Where a node logs.
    pub fn node_log(&self, number: usize) -> PathBuf {
        self.nodes[number].program.log()
    }

    /// Whether a node runs and is not frozen.
    pub fn node_serves(&self, number: usize) -> bool {
        self.nodes[number].serves()
    }

    /// Gives how a node ended that nobody told to.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn ended_nodes(&mut self) -> anyhow::Result<Vec<String>> {
        let mut ended = Vec::new();
        for node in &mut self.nodes {
            let status = match &mut node.server {
                Some(server) => server.has_ended()?,
                None => None,
            };
            if let Some(status) = status {
                node.server = None;
                ended.push(format!("{} ended: {status}", node.program.node));
            }
        }
        Ok(ended)
    }

    /// The operators' API of a node.
    ///
    /// # Errors
    /// When it does not run.
    pub fn admin_of(&self, number: usize) -> anyhow::Result<Client> {
        let server = self.nodes[number].running()?;
        Ok(Client::new(&server.addresses.internal).with_key(self.admin_key()))
    }

    /// The tenants' API of a node, without a key.
    ///
    /// # Errors
    /// When it does not run.
    pub fn public_of(&self, number: usize) -> anyhow::Result<Client> {
        let server = self.nodes[number].running()?;
        Ok(Client::new(&server.addresses.public))
    }

    /// Starts a node that does not run, where it listened before.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_node(&mut self, number: usize) -> anyhow::Result<()> {
        let node = &mut self.nodes[number];
        node.server = Some(node.program.start().await?);
        node.is_frozen = false;
        self.find_servers();
        Ok(())
    }

    /// Ends a node as `kill -9` does.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill_node(&mut self, number: usize) -> anyhow::Result<()> {
        let server = self.nodes[number].server.take();
        server.context("the node is not running")?.kill().await?;
        self.find_servers();
        Ok(())
    }

    /// Asks a node to stop (SIGTERM) and waits until it has ended well.
    ///
    /// # Errors
    /// When it does not run, or does not end as it should.
    pub async fn stop_node(&mut self, number: usize) -> anyhow::Result<()> {
        let server = self.nodes[number].server.take();
        self.find_servers();
        server.context("the node is not running")?.stop().await
    }

    /// Freezes a node (SIGSTOP): it keeps its connections and does nothing.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn freeze_node(&mut self, number: usize) -> anyhow::Result<()> {
        self.nodes[number].running()?.signal("-STOP").await?;
        self.nodes[number].is_frozen = true;
        self.find_servers();
        Ok(())
    }

    /// Lets a frozen node go on (SIGCONT).
    ///
    /// # Errors
    /// When it does not run.
    pub async fn thaw_node(&mut self, number: usize) -> anyhow::Result<()> {
        self.nodes[number].running()?.signal("-CONT").await?;
        self.nodes[number].is_frozen = false;
        self.find_servers();
        Ok(())
    }

    /// Calls the first node that serves from now on, and sends webhooks there, as a load balancer would.
    fn find_servers(&mut self) {
        let serving = self.nodes.iter().find(|node| node.serves());
        let Some(addresses) = serving
            .and_then(|node| node.server.as_ref())
            .map(|server| server.addresses.clone())
        else {
            return;
        };
        self.admin = Client::new(&addresses.internal).with_key(self.admin_key());
        self.public = Client::new(&addresses.public);
        self.simulator
            .set_callback(format!("http://{}/webhooks/meta", addresses.public));
    }
}
