//! What one process at a time does for all tenants: its tasks, joined with what they stand on.

use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::dead_letters;
use crate::foundation::Foundation;
use crate::planner::{self, Planner};

/// Starts the tasks of the role `planner`: plans, asks Meta's history, keeps the books, watches dead letters and what waits.
pub(super) fn start(
    config: &Config,
    base: &Foundation,
    tasks: &mut JoinSet<()>,
    stop: &CancellationToken,
    registry: &mut Registry,
) {
    let planner = Planner {
        database: base.app_system.clone(),
        publisher: base.publisher.clone(),
        settings: config.pipeline.clone(),
        metrics: planner::Metrics::register(registry),
    };
    tasks.spawn(planner.run(stop.clone()));
    ask_history(config, base, tasks, stop, registry);
    let (database, settings) = (base.app_system.clone(), config.billing.clone());
    let outside = (base.senders.clone(), base.meta.clone());
    tasks.spawn(planner::Bookkeeping::new(database, outside, settings, registry).run(stop.clone()));
    watch_letters(base, tasks, stop, registry);
    let metrics = planner::WaitMetrics::register(registry);
    tasks.spawn(planner::watch(base.app_system.clone(), metrics, stop.clone()));
}

/// Asks Meta's history about messages without news, if the settings say so.
fn ask_history(
    config: &Config,
    base: &Foundation,
    tasks: &mut JoinSet<()>,
    stop: &CancellationToken,
    registry: &mut Registry,
) {
    let silent_for = Duration::from_secs(config.pipeline.history_after_seconds);
    if silent_for.is_zero() {
        return;
    }
    let history = planner::History {
        database: base.app_system.clone(),
        publisher: base.publisher.clone(),
        meta: base.meta.clone(),
        senders: base.senders.clone(),
        silent_for,
        metrics: planner::HistoryMetrics::register(registry),
    };
    tasks.spawn(history.run(stop.clone()));
}

/// Counts dead letters for the metrics.
fn watch_letters(
    base: &Foundation,
    tasks: &mut JoinSet<()>,
    stop: &CancellationToken,
    registry: &mut Registry,
) {
    let metrics = dead_letters::Metrics::register(registry);
    tasks.spawn(dead_letters::watch(
        base.app_system.clone(),
        metrics,
        stop.clone(),
    ));
}
