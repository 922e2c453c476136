//! The whole pipeline: an installation of its own, many tenants, and campaigns from launch to settled delivery.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use malote::trial::{Installation, Options, PlanChoice, Tenant, counts_of, eventually};

use crate::simulated;

/// The rate of each number: Meta's highest.
const MESSAGES_PER_SECOND: u32 = 1_000;
/// How long a campaign may take.
const WITHIN: Duration = Duration::from_mins(20);
/// The time between two looks at the simulator, which is in this process.
const GLANCE: Duration = Duration::from_millis(5);

/// An installation with tenants that send.
pub(crate) struct Trial {
    /// The installation.
    pub(crate) installation: Installation,
    tenants: Vec<Tenant>,
    contacts: u64,
}

/// What a round of campaigns came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    /// Messages.
    pub(crate) messages: usize,
    /// From the first acceptance to the last settled delivery.
    pub(crate) elapsed: Duration,
    /// From the first acceptance to the last one.
    pub(crate) sending: Duration,
    /// The server's memory at its end.
    pub(crate) memory: Memory,
}

/// What a process holds, in KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) resident_kib: u64,
    /// The most that was ever resident.
    pub(crate) peak_kib: u64,
}

impl Trial {
    /// Starts an installation and its tenants, each with a number of its own.
    pub(crate) async fn start(tenants: usize) -> anyhow::Result<Self> {
        let quiet = ("MALOTE_TELEMETRY__LOG_FILTER", "warn");
        let installation = Installation::start(Options {
            name: "bench",
            program: PathBuf::from(env!("CARGO_BIN_EXE_malote")),
            simulator: simulated::settings(),
            settings: vec![(quiet.0.to_owned(), quiet.1.to_owned())],
        })
        .await?;
        let mut trial = Self {
            installation,
            tenants: Vec::new(),
            contacts: 0,
        };
        for number in 0..tenants {
            let name = format!("bench-{number}");
            let tenant = Tenant::create(&trial.installation, &name, PlanChoice::FREE, MESSAGES_PER_SECOND);
            trial.tenants.push(tenant.await?);
        }
        Ok(trial)
    }

    /// Prepares a campaign of each tenant, launches all of them, and waits until every delivery is settled.
    pub(crate) async fn round(&mut self, messages: usize) -> anyhow::Result<Round> {
        let before = self.installation.simulator.truth().accepted;
        let campaigns = self.launch(messages).await?;
        let total = campaigns.iter().map(|(_, contacts)| contacts).sum::<u64>();
        self.accepted(before + 1).await?;
        let first = Instant::now();
        self.accepted(before + total).await?;
        let sending = first.elapsed();
        self.delivered(&campaigns).await?;
        Ok(Round {
            messages: usize::try_from(total)?,
            elapsed: first.elapsed(),
            sending,
            memory: self.memory()?,
        })
    }

    /// Launches a campaign of each tenant, `messages` in all; gives each with its number of contacts.
    pub(crate) async fn launch(&mut self, messages: usize) -> anyhow::Result<Vec<(String, u64)>> {
        let each = u64::try_from(messages.div_ceil(self.tenants.len()))?;
        let mut campaigns = Vec::new();
        for tenant in &self.tenants {
            let campaign = tenant.draft("bench").await?;
            let mut csv = String::from("recipient,name\n");
            for number in self.contacts..self.contacts + each {
                csv.push_str(&format!("+3519{number:08},Contact {number:08}\n"));
            }
            self.contacts += each;
            let report = tenant.upload(&campaign, csv).await?;
            anyhow::ensure!(report["accepted"] == each, "not all were accepted: {report}");
            campaigns.push((campaign, each));
        }
        let launches = self.tenants.iter().zip(&campaigns);
        let launches = launches.map(|(tenant, (campaign, _))| tenant.tell(campaign, "launch"));
        futures_util::future::try_join_all(launches).await?;
        Ok(campaigns)
    }

    /// Waits until the simulator has accepted so many messages since it started.
    pub(crate) async fn accepted(&self, messages: u64) -> anyhow::Result<()> {
        let end = Instant::now() + WITHIN;
        loop {
            let truth = self.installation.simulator.truth();
            if truth.accepted >= messages {
                return Ok(());
            }
            anyhow::ensure!(
                Instant::now() < end,
                "{messages} were to be accepted, not {truth:?}; see {}",
                self.installation.log().display()
            );
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Waits until the balance sheets say that every message was delivered: state and ledger change together.
    pub(crate) async fn delivered(&self, campaigns: &[(String, u64)]) -> anyhow::Result<()> {
        for (tenant, (campaign, contacts)) in self.tenants.iter().zip(campaigns) {
            let waited = eventually("every delivery is settled", WITHIN, || async {
                let found = tenant.campaign(campaign).await?;
                let delivered = counts_of(&found, "delivered")?;
                Ok((u64::try_from(delivered)? >= *contacts).then_some(()))
            });
            waited.await?;
        }
        Ok(())
    }

    fn memory(&self) -> anyhow::Result<Memory> {
        let id = self.installation.server_id().context("the server has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let kib = |name: &str| -> anyhow::Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let line = line.with_context(|| format!("no {name} in /proc/{id}/status"))?;
            Ok(line.trim().trim_end_matches(" kB").parse()?)
        };
        Ok(Memory {
            resident_kib: kib("VmRSS:")?,
            peak_kib: kib("VmHWM:")?,
        })
    }
}
