//! Taking a delivery's bytes: bounded each, bounded together, and in bounded time, before anything looks at them.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use domain::webhook::{BYTES_MOST, UPDATES_MOST};
use futures_util::{Stream, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::envelope::count_updates;
use super::refusal::Refusal;

/// Bytes of all deliveries under way in this process, in KiB: an attacker who opens many connections fills no more.
const UNDER_WAY_MOST_KIB: usize = 64 * 1024;
/// How long a body may take to come in. Meta gives up sooner.
const WITHIN: Duration = Duration::from_secs(10);
const KIB: usize = 1024;

/// The room for the bytes of deliveries under way. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    free_kib: Arc<Semaphore>,
    within: Duration,
}

/// A delivery's bytes, and their place in the room until it is dropped.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    _place: Vec<OwnedSemaphorePermit>,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            free_kib: Arc::new(Semaphore::new(UNDER_WAY_MOST_KIB)),
            within: WITHIN,
        }
    }
}

impl Room {
    /// Takes a body. `announced` is its Content-Length, if it has one.
    ///
    /// # Errors
    /// When it is too large, comes in too slowly, breaks off, or there is no room.
    pub(crate) async fn take<B: warp::Buf>(
        &self,
        announced: Option<u64>,
        body: impl Stream<Item = Result<B, warp::Error>>,
    ) -> Result<Body, Refusal> {
        if announced.is_some_and(|bytes| bytes > BYTES_MOST as u64) {
            return Err(Refusal::TooLarge);
        }
        tokio::time::timeout(self.within, self.gather(body))
            .await
            .map_err(|_| Refusal::TooSlow)?
    }

    async fn gather<B: warp::Buf>(
        &self,
        body: impl Stream<Item = Result<B, warp::Error>>,
    ) -> Result<Body, Refusal> {
        let (mut gathered, mut place, mut room) = (BytesMut::new(), Vec::new(), 0);
        let mut body = std::pin::pin!(body);
        while let Some(part) = body.next().await {
            let mut part = part.map_err(|_| Refusal::BrokenOff)?;
            let bytes = gathered.len() + part.remaining();
            if bytes > BYTES_MOST {
                return Err(Refusal::TooLarge);
            }
            if bytes > room {
                place.push(self.more_room(bytes - room)?);
                room = bytes.next_multiple_of(KIB).max(room);
            }
            gathered.extend_from_slice(&part.copy_to_bytes(part.remaining()));
        }
        Ok(Body {
            bytes: gathered.freeze(),
            _place: place,
        })
    }

    fn more_room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let wanted = u32::try_from(bytes.div_ceil(KIB)).map_err(|_| Refusal::TooLarge)?;
        Arc::clone(&self.free_kib)
            .try_acquire_many_owned(wanted)
            .map_err(|_| Refusal::Overloaded)
    }
}

/// Checks what can be checked of signed bytes before they are taken apart.
///
/// # Errors
/// When it has more updates than Meta promises.
pub(crate) fn check_updates(body: &[u8]) -> Result<(), Refusal> {
    if count_updates(body) > UPDATES_MOST {
        Err(Refusal::TooManyUpdates)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(parts: usize, bytes: usize) -> impl Stream<Item = Result<Bytes, warp::Error>> {
        futures_util::stream::iter((0..parts).map(move |_| Ok(Bytes::from(vec![b' '; bytes]))))
    }

    #[tokio::test]
    async fn a_body_that_announces_too_much_is_not_even_read() {
        let never = futures_util::stream::pending::<Result<Bytes, warp::Error>>();
        let taken = Room::default().take(Some(BYTES_MOST as u64 + 1), never).await;
        assert_eq!(taken.unwrap_err(), Refusal::TooLarge);
    }

    #[tokio::test]
    async fn a_body_that_does_not_say_how_long_it_is_ends_at_the_limit() {
        let room = Room::default();
        let taken = room.take(None, parts(usize::MAX, 64 * KIB)).await;
        assert_eq!(taken.unwrap_err(), Refusal::TooLarge);
        let whole = room.take(None, parts(BYTES_MOST / KIB, KIB)).await.unwrap();
        assert_eq!(whole.bytes.len(), BYTES_MOST);
        assert_eq!(
            room.free_kib.available_permits(),
            UNDER_WAY_MOST_KIB - BYTES_MOST / KIB
        );
        drop(whole);
        assert_eq!(room.free_kib.available_permits(), UNDER_WAY_MOST_KIB);
    }

    #[tokio::test]
    async fn small_parts_take_no_more_room_than_they_fill() {
        let room = Room::default();
        let body = room.take(Some(10_000), parts(10_000, 1)).await.unwrap();
        assert_eq!(room.free_kib.available_permits(), UNDER_WAY_MOST_KIB - 10);
        assert_eq!(body.bytes.len(), 10_000);
        drop(body);
        assert_eq!(room.free_kib.available_permits(), UNDER_WAY_MOST_KIB);
    }

    #[tokio::test]
    async fn when_the_room_is_full_the_next_is_told_to_come_again() {
        let room = Room::default();
        let mut held = Vec::new();
        let refused = loop {
            match room.take(None, parts(BYTES_MOST / KIB, KIB)).await {
                Ok(body) => held.push(body),
                Err(refused) => break refused,
            }
        };
        assert_eq!(refused, Refusal::Overloaded);
        assert_eq!(held.len(), UNDER_WAY_MOST_KIB / (BYTES_MOST / KIB));
        held.clear();
        assert!(room.take(None, parts(1, 1)).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_given_up() {
        let never = futures_util::stream::pending::<Result<Bytes, warp::Error>>();
        let room = Room {
            within: Duration::from_millis(1),
            ..Room::default()
        };
        let taken = room.take(Some(10), never).await;
        assert_eq!(taken.unwrap_err(), Refusal::TooSlow);
    }

    #[test]
    fn a_delivery_may_hold_a_thousand_updates() {
        let of = |updates: usize| {
            let statuses = vec!["{}"; updates].join(",");
            format!(r#"{{"entry":[{{"changes":[{{"value":{{"statuses":[{statuses}]}}}}]}}]}}"#)
        };
        assert_eq!(check_updates(of(UPDATES_MOST).as_bytes()), Ok(()));
        assert_eq!(
            check_updates(of(UPDATES_MOST + 1).as_bytes()),
            Err(Refusal::TooManyUpdates)
        );
    }
}
