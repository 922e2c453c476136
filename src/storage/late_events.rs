//! Stored events that nobody applied: found a part at a time, so that a long list is walked through once and not begun anew.

use std::time::Duration;

use domain::ids::{EventId, TenantId};
use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Database, StorageError};

/// Stored events of one tenant that nobody applied.
#[derive(Clone, Debug)]
pub struct LateEvents {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub events: Vec<EventId>,
    /// When those happened that Meta reported, by its clock.
    pub happened: Vec<Timestamp>,
}

/// How far the walk has come: behind this event. The default is the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    tenant: Uuid,
    received_at: Timestamp,
    event: Uuid,
}

/// A part of what is late.
#[derive(Clone, Debug)]
pub struct Part {
    /// The events, by tenant.
    pub late: Vec<LateEvents>,
    /// Where the next part begins; none when this was the last.
    pub next: Option<Place>,
}

/// Lists at most `most` stored events behind `place` that nobody applied for a while, dead letters left out.
///
/// # Errors
/// What the database says.
pub async fn part(
    database: &Database,
    unapplied_for: Duration,
    place: Place,
    most: u32,
) -> Result<Part, StorageError> {
    let mut connection = database.get().await?;
    // The order is that of the index events_unapplied.
    let rows = connection
        .query(
            "SELECT tenant_id, received_at, id, CASE WHEN source = 'meta' THEN occurred_at END FROM events e
             WHERE applied_at IS NULL AND (tenant_id, received_at, id) > ($2, $3, $4)
                AND received_at < now() - $1 * interval '1 second' AND NOT EXISTS (
                    SELECT FROM dead_letters d WHERE d.tenant_id = e.tenant_id AND d.event_id = e.id
                        AND d.resolution IS DISTINCT FROM 'replayed')
             ORDER BY tenant_id, received_at, id LIMIT $5",
            &[
                &unapplied_for.as_secs_f64(),
                &place.tenant,
                &place.received_at,
                &place.event,
                &i64::from(most),
            ],
        )
        .await?;
    let next = rows.last().filter(|_| rows.len() == most as usize).map(place_of);
    Ok(Part {
        late: by_tenant(&rows),
        next,
    })
}

fn place_of(row: &Row) -> Place {
    Place {
        tenant: row.get(0),
        received_at: row.get(1),
        event: row.get(2),
    }
}

/// Gathers rows that come in the order of their tenants.
fn by_tenant(rows: &[Row]) -> Vec<LateEvents> {
    rows.chunk_by(|one, other| one.get::<_, Uuid>(0) == other.get::<_, Uuid>(0))
        .map(|rows| LateEvents {
            tenant: TenantId(rows[0].get(0)),
            events: rows.iter().map(|row| EventId(row.get(2))).collect(),
            happened: rows.iter().filter_map(|row| row.get(3)).collect(),
        })
        .collect()
}
