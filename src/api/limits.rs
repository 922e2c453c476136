//! Everything of the API that has an end. Uploads have their own (`api/upload`): they are streamed, never gathered.

use std::time::Duration;

/// Bytes of a JSON body: a thousand recipients with a kilobyte of values each, and as much again.
pub(super) const JSON_MOST: usize = 2 * 1024 * 1024;
/// How long a JSON body may take to come in.
pub(super) const JSON_LONGEST: Duration = Duration::from_secs(30);
/// How long an upload may pause before it is taken for gone.
pub(super) const UPLOAD_PAUSE_LONGEST: Duration = Duration::from_secs(60);
/// Connections of one listener; past it the system keeps them waiting.
pub(super) const CONNECTIONS_MOST: usize = 8_192;
/// How long the headers of a request may take to come in; also how long a connection may be idle.
pub(super) const HEADERS_LONGEST: Duration = Duration::from_secs(60);
/// Headers of a request.
pub(super) const HEADERS_MOST: usize = 100;
/// Keys of one name that may be live at once: the one in use, and the one that replaces it.
pub(super) const LIVE_KEYS_MOST: i64 = 2;
/// How long an Idempotency-Key is remembered at least.
pub(super) const IDEMPOTENCY_KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// How often what is older is deleted.
pub(super) const IDEMPOTENCY_SWEPT_EVERY: Duration = Duration::from_secs(10 * 60);
/// Items of a page, unless asked otherwise.
pub(super) const PAGE_USUAL: i64 = 50;
/// Items of a page at most.
pub(super) const PAGE_MOST: i64 = 200;
/// Characters of an Idempotency-Key.
pub(super) const IDEMPOTENCY_KEY_LONGEST: usize = 255;
/// Characters of a name that people give to something.
pub(super) const NAME_LONGEST: usize = 200;
/// Characters of an id of Meta's, or of a phone number as people write it.
pub(super) const META_ID_LONGEST: usize = 100;
/// Characters of an access token of Meta's.
pub(super) const ACCESS_TOKEN_LONGEST: usize = 4_096;

/// How long an API key is believed without asking again: a revoked key works this much longer.
pub(super) const KEY_BELIEVED_FOR: Duration = Duration::from_secs(5);
/// Keys remembered at most; beyond it all are asked for again.
pub(super) const KEYS_REMEMBERED_MOST: usize = 10_000;
/// How long an answer of `/readyz` is repeated, so that probes cost the dependencies nothing.
pub(super) const READINESS_BELIEVED_FOR: Duration = Duration::from_secs(2);
/// How often dependencies are looked at when nobody asks. Each look opens a connection to the broker.
pub(super) const DEPENDENCIES_LOOKED_AT_EVERY: Duration = Duration::from_secs(10);
/// How long a dependency may take to say that it is there.
pub(super) const PROBE_LONGEST: Duration = Duration::from_secs(2);
/// Seconds after which a caller may try again when a dependency is away.
pub(super) const RETRY_AFTER_SECONDS: u64 = 2;

/// Meta's throughput of a number, unless it was raised (messages a second).
pub(super) const SENDER_RATE_USUAL: i32 = 80;
/// The highest throughput that Meta gives (messages a second).
pub(super) const SENDER_RATE_MOST: i32 = 1_000;
/// Units, micros or smallest units of money in one field of a plan: products of two of them can still be billed.
pub(super) const PLAN_AMOUNT_MOST: i64 = 1_000_000_000_000;
