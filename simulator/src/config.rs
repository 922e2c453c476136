//! What a simulator is started with.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::faults::Faults;

/// The WABA of phone numbers that nobody configured.
pub const DEFAULT_WABA_ID: &str = "102290129340398";

/// Everything that is set when the simulator starts. Callback, rates and faults may change while it runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Feeds every random decision; the same seed repeats the same faults for the same recipients.
    pub seed: u64,
    /// Where to listen. Port 0 picks a free one.
    pub listen: SocketAddr,
    /// Signs webhooks (`X-Hub-Signature-256`).
    pub app_secret: String,
    /// Where webhooks go. Without it messages live their lives and nobody is told.
    pub callback: Option<String>,
    /// Tokens that are accepted; empty accepts any.
    pub tokens: BTreeSet<String>,
    /// Phone numbers that exist; empty lets any exist.
    pub numbers: Vec<NumberConfig>,
    /// Templates beyond the built-in ones.
    pub templates: Vec<TemplateConfig>,
    /// Accept templates nobody configured, as category MARKETING if their name says so, else UTILITY.
    pub any_template: bool,
    /// The WABA of numbers that nobody configured.
    pub waba_id: String,
    /// Messages per second and number; 0 sets no limit.
    pub number_rate: u32,
    /// One message per this time between a number and a user; zero sets no limit.
    pub pair_interval: Duration,
    /// Messages a pair may send at once after a pause.
    pub pair_burst: u32,
    /// How long after acceptance each status happens.
    pub webhook_latency: WebhookLatency,
    /// Share of delivered messages that are read.
    pub read_share: f64,
    /// Most statuses in one request; Meta's own bound is 1,000.
    pub webhook_batch: usize,
    /// How long a due status waits for company, when more than one fits in a request.
    pub webhook_linger: Duration,
    /// Requests to the callback at a time.
    pub webhook_concurrency: usize,
    /// How long the callback may take to answer.
    pub webhook_timeout: Duration,
    /// The wait before the first repetition; doubled for each further one.
    pub webhook_retry_first: Duration,
    /// The longest wait between repetitions.
    pub webhook_retry_longest: Duration,
    /// A status not acknowledged for this long is dropped. Meta: 7 days.
    pub webhook_give_up: Duration,
    /// Send `contacts` beside `statuses`, as real traffic does since 2026.
    pub webhook_contacts: bool,
    /// What goes wrong.
    pub faults: Faults,
}

/// One phone number that sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumberConfig {
    /// The phone number id in the URL.
    pub id: String,
    /// The WhatsApp Business Account that owns it.
    pub waba_id: String,
    /// The number as people see it.
    pub display_phone_number: String,
}

/// One message template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateConfig {
    /// The name in the send request.
    pub name: String,
    /// The language code in the send request.
    pub language: String,
    /// MARKETING, UTILITY or AUTHENTICATION.
    pub category: String,
    /// Body text; `{{1}}`, `{{2}}` are its parameters.
    pub body: String,
    /// APPROVED, or why it cannot be sent: PAUSED, DISABLED.
    #[serde(default = "approved")]
    pub status: String,
}

fn approved() -> String {
    "APPROVED".to_owned()
}

/// How long after acceptance each status happens.
#[derive(Clone, Copy, Debug)]
pub struct WebhookLatency {
    /// Until `sent`, or `failed`.
    pub sent: Duration,
    /// Until `delivered`.
    pub delivered: Duration,
    /// Until `read`.
    pub read: Duration,
    /// Each time varies by up to this share of itself, evenly, both ways.
    pub jitter: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 1,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9999)),
            app_secret: "simulator-app-secret".to_owned(),
            callback: None,
            tokens: BTreeSet::new(),
            numbers: Vec::new(),
            templates: Vec::new(),
            any_template: true,
            waba_id: DEFAULT_WABA_ID.to_owned(),
            number_rate: 80,
            pair_interval: Duration::from_secs(6),
            pair_burst: 45,
            webhook_latency: WebhookLatency {
                sent: Duration::from_millis(300),
                delivered: Duration::from_millis(1_200),
                read: Duration::from_secs(20),
                jitter: 0.5,
            },
            read_share: 0.5,
            webhook_batch: 1,
            webhook_linger: Duration::from_millis(20),
            webhook_concurrency: 64,
            webhook_timeout: Duration::from_secs(10),
            webhook_retry_first: Duration::from_secs(1),
            webhook_retry_longest: Duration::from_hours(1),
            webhook_give_up: Duration::from_hours(7 * 24),
            webhook_contacts: true,
            faults: Faults::default(),
        }
    }
}

impl Config {
    /// A free port and quick webhooks: sent after 5 ms, delivered after 20 ms, read after 30 ms for half.
    pub fn for_tests() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            webhook_latency: WebhookLatency {
                sent: Duration::from_millis(5),
                delivered: Duration::from_millis(20),
                read: Duration::from_millis(30),
                jitter: 0.0,
            },
            webhook_linger: Duration::from_millis(2),
            webhook_retry_first: Duration::from_millis(20),
            webhook_retry_longest: Duration::from_millis(500),
            webhook_give_up: Duration::from_mins(1),
            ..Self::default()
        }
    }
}
