//! Events that nobody applied are found, each once in a walk, however small its parts are.

use std::time::Duration;

use domain::ids::EventId;
use malote::storage::late_events::{Place, part};
use uuid::Uuid;

use crate::tenant::TestTenant;

/// Longer than any test of this program runs, so that only what `late_event` makes is late.
const UNAPPLIED_FOR: Duration = Duration::from_secs(30 * 60);

/// A stored event that came so long ago.
pub(crate) async fn late_event(test: &TestTenant, ago: &str) -> EventId {
    let event = Uuid::now_v7();
    let mut connection = test.system.get().await.expect("the database is up");
    connection
        .execute(
            "INSERT INTO events (tenant_id, id, source, status, attempt_id, occurred_at, received_at)
             VALUES ($1, $2, 'meta', 'sent', $2, now(), now() - $3::text::interval)",
            &[&test.tenant.0, &event, &ago],
        )
        .await
        .expect("the event is one of Meta's");
    EventId(event)
}

/// The tenant's late events as a walk in parts of `most` finds them.
pub(crate) async fn late_events(test: &TestTenant, most: u32) -> Vec<EventId> {
    let (mut found, mut place) = (Vec::new(), Some(Place::default()));
    while let Some(behind) = place {
        let part = part(&test.system, UNAPPLIED_FOR, behind, most)
            .await
            .expect("the database is up");
        let own = part.late.iter().filter(|late| late.tenant == test.tenant);
        found.extend(own.flat_map(|late| late.events.clone()));
        place = part.next;
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_in_small_parts_finds_each_late_event_once_and_no_new_one() {
    let test = TestTenant::create().await;
    let second = late_event(&test, "1 hour").await;
    let first = late_event(&test, "2 hours").await;
    late_event(&test, "1 minute").await;
    let third = late_event(&test, "1 hour").await;
    for most in [1, 2, 10_000] {
        assert_eq!(
            late_events(&test, most).await,
            [first, second, third],
            "parts of {most}"
        );
    }
}
