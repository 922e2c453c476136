//! End to end on real PostgreSQL, Redis and RabbitMQ; only Meta is simulated. Each test has an installation of its own, so they run
//! side by side. `make e2e` brings the servers up.

mod answers;
mod billing;
mod crash;
mod dead_letters;
mod exact_limit;
mod failures;
mod guard;
mod happy_path;
#[cfg(feature = "fault-injection")]
mod hung;
mod isolation;
mod journey;
mod keys;
mod latency;
mod launches;
mod life;
mod limits;
mod management;
mod nodes;
mod pause;
#[cfg(feature = "fault-injection")]
mod quarantine;
mod repeats;
mod series;
mod shutdown;
#[cfg(feature = "fault-injection")]
mod supervision;
mod support;
mod unknown;
mod webhooks;
