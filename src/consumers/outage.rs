//! Tells the other processes while this one finds Meta down.

use std::time::Duration;

use actors::tenants::Tenants;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::storage::{Redis, outages};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(1);

/// Says so until `stop`. Whoever asks may hear of an outage for two seconds after its end.
pub(super) async fn tell(tenants: Tenants, redis: Redis, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Some(wait) = tenants.outage() {
            let until = Timestamp::now() + wait;
            if let Err(error) = outages::say(&redis, until, wait + 2 * EVERY).await {
                tracing::debug!(%error, "an outage of Meta is not told to the others");
            }
        }
        stop.run_until_cancelled(tokio::time::sleep(EVERY)).await;
    }
}
