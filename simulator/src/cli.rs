//! `malote simulator`: the same simulator, alone in a process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::faults::Faults;
use crate::simulator::{Simulator, SimulatorError};

/// Serves a simulated WhatsApp Cloud API: same requests, same answers, same signed webhooks, faults on demand.
///
/// Point any client at it by overriding the Graph base URL `https://graph.facebook.com` with `http://127.0.0.1:9999`;
/// every version prefix (v26.0, …) is accepted. Tokens, numbers, accounts and templates need not exist
/// beforehand. What really happened is at `/_control/truth`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Address to listen on; port 0 picks a free one and prints it.
    #[arg(long, default_value = "127.0.0.1:9999")]
    pub listen: SocketAddr,
    /// URL to post status webhooks to, e.g. `http://127.0.0.1:8080/webhooks/meta`. Without it nobody is told.
    #[arg(long)]
    pub callback: Option<String>,
    /// App secret that signs webhooks; the receiver verifies X-Hub-Signature-256 with the same one.
    #[arg(long, default_value = "simulator-app-secret")]
    pub app_secret: String,
    /// Messages per second and phone number, Meta's default being 80; above it 130429. 0 sets no limit.
    #[arg(long, default_value_t = 80)]
    pub number_rate: u32,
    /// Seconds between messages of a number to one user, after a burst of 45; above it 131056. 0 sets no limit.
    #[arg(long, default_value_t = 6)]
    pub pair_interval_s: u64,
    /// TOML file with the fault plan, e.g. a line `failed_share = 0.02`; simulator/README.md lists the keys.
    #[arg(long)]
    pub faults: Option<PathBuf>,
    /// Seed of every random decision; the same seed gives the same faults to the same recipients.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Accept only this token (repeatable); others get 190. Without it any token is accepted.
    #[arg(long)]
    pub token: Vec<String>,
    /// WhatsApp Business Account that owns the numbers; it is entry[].id in webhooks.
    #[arg(long, default_value = crate::config::DEFAULT_WABA_ID)]
    pub waba_id: String,
    /// Refuse templates that are not built in (132001) instead of accepting any.
    #[arg(long)]
    pub only_known_templates: bool,
    /// Milliseconds from acceptance to `sent`; each message varies by half of it.
    #[arg(long, default_value_t = 300)]
    pub sent_after_ms: u64,
    /// Milliseconds from acceptance to `delivered`; each message varies by half of it.
    #[arg(long, default_value_t = 1_200)]
    pub delivered_after_ms: u64,
    /// Milliseconds from acceptance to `read`; each message varies by half of it.
    #[arg(long, default_value_t = 20_000)]
    pub read_after_ms: u64,
    /// Share of delivered messages that are read, 0 to 1.
    #[arg(long, default_value_t = 0.5)]
    pub read_share: f64,
    /// Most statuses in one webhook; 1 sends each alone, Meta's bound is 1000.
    #[arg(long, default_value_t = 1)]
    pub webhook_batch: usize,
    /// Most webhook requests at a time.
    #[arg(long, default_value_t = 64)]
    pub webhook_concurrency: usize,
    /// Share of calls answered with a transient error (131000, 131016, 2); overrides the file.
    #[arg(long)]
    pub transient_error_share: Option<f64>,
    /// Share of calls answered with a 502 HTML page; overrides the file.
    #[arg(long)]
    pub non_json_share: Option<f64>,
    /// Share of calls accepted whose answer is lost; overrides the file.
    #[arg(long)]
    pub lost_answer_share: Option<f64>,
    /// Share of accepted messages that fail afterwards; overrides the file.
    #[arg(long)]
    pub failed_share: Option<f64>,
    /// Share of delivered messages that cost nothing; overrides the file.
    #[arg(long)]
    pub free_share: Option<f64>,
    /// Share of statuses sent twice; overrides the file.
    #[arg(long)]
    pub duplicated_webhook_share: Option<f64>,
    /// Share of messages whose `delivered` overtakes `sent`; overrides the file.
    #[arg(long)]
    pub reordered_webhook_share: Option<f64>,
    /// Share of statuses lost at first and sent late; overrides the file.
    #[arg(long)]
    pub late_webhook_share: Option<f64>,
    /// Median milliseconds an answer takes; overrides the file.
    #[arg(long)]
    pub answer_delay_ms: Option<u64>,
    /// Milliseconds that one answer in a hundred exceeds; overrides the file.
    #[arg(long)]
    pub answer_delay_p99_ms: Option<u64>,
}

/// Serves until the process is asked to end, by Ctrl-C or a TERM signal.
pub async fn run(args: Args) -> Result<(), SimulatorError> {
    let simulator = Simulator::start(args.into_config()?).await?;
    println!("simulator listening on {}", simulator.base_url());
    asked_to_end().await;
    tracing::info!(truth = ?simulator.truth(), "simulator stopped");
    simulator.stop().await;
    Ok(())
}

async fn asked_to_end() {
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        },
        Err(error) => {
            tracing::warn!(%error, "no TERM signals; Ctrl-C ends the simulator");
            let _ = tokio::signal::ctrl_c().await; // Without any signals there is nothing left to wait for.
        }
    }
}

impl Args {
    fn into_config(self) -> Result<Config, SimulatorError> {
        let faults = self.fault_plan()?;
        let mut config = Config {
            seed: self.seed,
            listen: self.listen,
            app_secret: self.app_secret,
            callback: self.callback,
            tokens: self.token.into_iter().collect(),
            waba_id: self.waba_id,
            any_template: !self.only_known_templates,
            number_rate: self.number_rate,
            pair_interval: Duration::from_secs(self.pair_interval_s),
            read_share: self.read_share,
            webhook_batch: self.webhook_batch,
            webhook_concurrency: self.webhook_concurrency,
            faults,
            ..Config::default()
        };
        config.webhook_latency.sent = Duration::from_millis(self.sent_after_ms);
        config.webhook_latency.delivered = Duration::from_millis(self.delivered_after_ms);
        config.webhook_latency.read = Duration::from_millis(self.read_after_ms);
        Ok(config)
    }

    /// The file's plan with the flags on top.
    fn fault_plan(&self) -> Result<Faults, SimulatorError> {
        let mut faults = self
            .faults
            .as_deref()
            .map(read_faults)
            .transpose()?
            .unwrap_or_default();
        let shares = [
            (&mut faults.transient_error_share, self.transient_error_share),
            (&mut faults.non_json_share, self.non_json_share),
            (&mut faults.lost_answer_share, self.lost_answer_share),
            (&mut faults.failed_share, self.failed_share),
            (&mut faults.free_share, self.free_share),
            (
                &mut faults.duplicated_webhook_share,
                self.duplicated_webhook_share,
            ),
            (&mut faults.reordered_webhook_share, self.reordered_webhook_share),
            (&mut faults.late_webhook_share, self.late_webhook_share),
        ];
        for (share, flag) in shares {
            *share = flag.unwrap_or(*share);
        }
        faults.answer_delay_ms = self.answer_delay_ms.unwrap_or(faults.answer_delay_ms);
        faults.answer_delay_p99_ms = self.answer_delay_p99_ms.unwrap_or(faults.answer_delay_p99_ms);
        Ok(faults)
    }
}

fn read_faults(path: &Path) -> Result<Faults, SimulatorError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| SimulatorError::FaultsFile {
        path: name.clone(),
        source,
    })?;
    toml::from_str(&text).map_err(|error| SimulatorError::Setting(format!("fault plan {name}: {error}")))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn config(flags: &str) -> Result<Config, SimulatorError> {
        Command::try_parse_from(
            format!("simulator {flags}")
                .split(' ')
                .filter(|word| !word.is_empty()),
        )
        .expect("flags that parse")
        .args
        .into_config()
    }

    #[test]
    fn flags_override_the_fault_file() {
        let path = std::env::temp_dir().join(format!("simulator-faults-{}.toml", std::process::id()));
        std::fs::write(&path, "free_share = 0.1\nfailed_share = 0.2").expect("a temporary file");
        let flags = format!(
            "--seed 7 --number-rate 1000 --failed-share 0.5 --faults {}",
            path.display()
        );
        let read = config(&flags);
        std::fs::remove_file(&path).expect("the file still there");
        let read = read.expect("a configuration");
        assert_eq!((read.seed, read.number_rate), (7, 1_000));
        assert_eq!((read.faults.free_share, read.faults.failed_share), (0.1, 0.5));
    }

    #[test]
    fn without_flags_it_is_meta_with_default_limits() {
        let read = config("").expect("a configuration");
        assert_eq!(
            (read.listen.port(), read.number_rate, read.pair_burst),
            (9_999, 80, 45)
        );
        assert_eq!(read.faults, Faults::default());
    }

    #[test]
    fn a_missing_fault_file_is_named() {
        let error = config("--faults /nowhere.toml").expect_err("no such file");
        assert_eq!(error.to_string(), "read the fault plan /nowhere.toml");
    }
}
