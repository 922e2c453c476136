//! The simulator as a library: start it, point a client at it, ask it for the truth.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::acceptances::{self, Acceptance};
use crate::config::{Config, NumberConfig};
use crate::control;
use crate::faults::Faults;
use crate::server;
use crate::shared::Shared;
use crate::state::State;
use crate::truth::{RecipientTruth, Truth};
use crate::webhooks::{self, check_callback};

/// Why a simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// The address cannot be listened on.
    #[error("listen on {address}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A setting makes no sense; nothing was started.
    #[error("{0}")]
    Setting(String),
    /// The file with the fault plan cannot be read.
    #[error("read the fault plan {path}")]
    FaultsFile {
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// A running simulator. It ends when it is stopped or dropped.
#[derive(Debug)]
pub struct Simulator {
    shared: Arc<Shared>,
    address: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl Simulator {
    /// Listens and serves, on the runtime of the caller.
    pub async fn start(config: Config) -> Result<Self, SimulatorError> {
        config.faults.check().map_err(SimulatorError::Setting)?;
        let callback = config.callback.as_deref().map(check_callback).transpose();
        let state = State::new(&config, callback.map_err(SimulatorError::Setting)?);
        let listen = |source| SimulatorError::Listen {
            address: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let shared = Shared::new(config, state);
        let tasks = [
            tokio::spawn(server::run(Arc::clone(&shared), listener, address)),
            tokio::spawn(webhooks::run(Arc::clone(&shared))),
        ];
        Ok(Self {
            shared,
            address,
            tasks,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The Graph API's base URL for clients, without version or trailing slash.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What really happened so far.
    pub fn truth(&self) -> Truth {
        self.shared.state().truth()
    }

    /// What really happened to each recipient that was ever written to.
    pub fn truth_by_recipient(&self) -> Vec<RecipientTruth> {
        self.shared.state().truth_by_recipient()
    }

    /// How many messages were accepted for a recipient, with or without `+`.
    pub fn accepted_for(&self, recipient: &str) -> u32 {
        control::accepted_for(&self.shared, recipient)
    }

    /// What a number had accepted since a moment, in order, those whose answer was lost included.
    pub fn acceptances(&self, phone_number_id: &str, since: Instant) -> Vec<Acceptance> {
        acceptances::of_number(&self.shared, phone_number_id, since)
    }

    /// Replaces the fault plan. Shares outside 0 to 1 count as the nearest bound.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.state().faults = Arc::new(faults.normalised());
    }

    /// Sends webhooks elsewhere, those still queued included. A URL that is not plain http stops them.
    pub fn set_callback(&self, url: String) {
        if let Err((_, error)) = control::set_callback(&self.shared, Some(&url)) {
            tracing::error!(error, "callback not usable, webhooks are dropped");
            self.shared.state().callback = None;
        }
    }

    /// Sets the messages per second of one number; 0 sets no limit.
    pub fn set_number_rate(&self, phone_number_id: &str, per_second: u32) {
        let mut state = self.shared.state();
        let invented = state.numbers.invented(phone_number_id);
        let number = state
            .numbers
            .find(phone_number_id)
            .unwrap_or_else(|| state.numbers.put(invented));
        state.numbers.at_mut(number).set_rate(per_second);
    }

    /// Adds a number, or changes its account and display number.
    pub fn set_number(&self, number: NumberConfig) {
        self.shared.state().numbers.put(number);
    }

    /// Answers every call with 130429 for this long.
    pub fn throttle_for(&self, time: Duration) {
        let now_ms = self.shared.now_ms();
        self.shared.state().throttled_until_ms = now_ms + time.as_millis() as u64;
    }

    /// Goes down for this long: connections are refused, those that are open are cut, and no webhook is sent. What was accepted
    /// before stays accepted. No time at all brings it up again.
    pub fn set_down(&self, time: Duration) {
        self.shared.down_for(time);
    }

    /// Whether it is down now.
    pub fn is_down(&self) -> bool {
        self.shared.is_down()
    }

    /// Forgets messages, recipients and counts. Callback, numbers and faults stay.
    pub fn reset(&self) {
        self.shared.state().reset();
    }

    /// Waits until no webhook is pending. False if that took longer than `within`.
    pub async fn wait_until_idle(&self, within: Duration) -> bool {
        control::wait_until_idle(&self.shared, within).await
    }

    /// Closes the port and every connection. Webhooks not yet sent are dropped.
    pub async fn stop(mut self) {
        for task in &mut self.tasks {
            task.abort();
            let _ = task.await; // It ends as aborted, which is what was asked for.
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
