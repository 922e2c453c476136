//! Who calls: a tenant under its API key, or an operator under the admin key. Both are compared in constant time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::api_key;
use domain::ids::TenantId;
use subtle::ConstantTimeEq as _;
use warp::{Filter, Rejection};

use super::context::Context;
use super::error::{ApiError, Code};
use crate::storage::api_keys::{self, StoredKey};

/// How long a key is believed without asking again: a revoked key works this much longer.
const BELIEVED_FOR: Duration = Duration::from_secs(5);
/// Keys remembered at most; beyond it all are asked for again.
const REMEMBERED_MOST: usize = 10_000;

/// What a key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Numbers and templates.
    Senders,
    /// Campaigns and their recipients.
    Campaigns,
    /// Single messages, timelines, dead letters.
    Messages,
    /// The suppression list.
    Suppressions,
    /// Usage, invoices, ledger.
    Billing,
}

impl Scope {
    /// Every scope.
    pub(super) const ALL: [Self; 5] = [
        Self::Senders,
        Self::Campaigns,
        Self::Messages,
        Self::Suppressions,
        Self::Billing,
    ];

    /// Gives its name in keys.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Senders => "senders",
            Self::Campaigns => "campaigns",
            Self::Messages => "messages",
            Self::Suppressions => "suppressions",
            Self::Billing => "billing",
        }
    }
}

/// Keys that were shown a moment ago, by prefix.
#[derive(Clone, Default)]
pub struct KnownKeys(Arc<Mutex<HashMap<String, (Instant, StoredKey)>>>);

impl KnownKeys {
    fn recall(&self, prefix: &str) -> Option<StoredKey> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (asked_at, key) = known.get(prefix)?;
        (asked_at.elapsed() < BELIEVED_FOR).then(|| key.clone())
    }

    fn remember(&self, prefix: &str, key: &StoredKey) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED_MOST {
            known.clear();
        }
        known.insert(prefix.to_owned(), (Instant::now(), key.clone()));
    }
}

/// Lets a tenant in whose key has the scope.
pub(super) fn tenant(
    context: &Context,
    scope: Scope,
) -> impl Filter<Extract = (TenantId,), Error = Rejection> + Clone + use<> {
    let context = context.clone();
    warp::header::optional::<String>("authorization").and_then(move |header: Option<String>| {
        let context = context.clone();
        async move {
            let found = identify(&context, header.as_deref(), scope).await;
            found.map_err(warp::reject::custom)
        }
    })
}

/// Lets operators in.
pub(super) fn operator(context: &Context) -> impl Filter<Extract = (), Error = Rejection> + Clone + use<> {
    let key = Arc::clone(&context.admin_key);
    warp::header::optional::<String>("authorization")
        .and_then(move |header: Option<String>| {
            let shown = bearer(header.as_deref())
                .is_some_and(|shown| bool::from(shown.as_bytes().ct_eq(key.expose().as_bytes())));
            async move {
                if shown {
                    Ok(())
                } else {
                    Err(warp::reject::custom(unauthorized(
                        "the admin key is needed: Authorization: Bearer <key>",
                    )))
                }
            }
        })
        .untuple_one()
}

async fn identify(context: &Context, header: Option<&str>, scope: Scope) -> Result<TenantId, ApiError> {
    let shown =
        bearer(header).ok_or_else(|| unauthorized("send your API key: Authorization: Bearer mlt_..."))?;
    let prefix = api_key::prefix_of(shown).ok_or_else(|| unauthorized("this is not an API key"))?;
    let unknown = || unauthorized("this key is unknown, expired or revoked");
    let key = match context.known_keys.recall(prefix) {
        Some(key) => key,
        None => {
            let mut connection = context.app_rw.get().await?;
            let key = api_keys::find(&mut connection, prefix)
                .await?
                .ok_or_else(unknown)?;
            context.known_keys.remember(prefix, &key);
            key
        }
    };
    let matches = bool::from(api_key::hash(shown).ct_eq(&key.sha256));
    if !matches || !key.is_live(jiff::Timestamp::now()) {
        return Err(unknown());
    }
    if !key.is_active {
        return Err(ApiError::new(
            Code::Forbidden,
            "the tenant is suspended; ask your operator",
        ));
    }
    if !key.scopes.iter().any(|given| given == scope.as_str()) {
        return Err(ApiError::new(
            Code::Forbidden,
            format!("this key lacks the scope {:?}", scope.as_str()),
        ));
    }
    Ok(key.tenant)
}

fn bearer(header: Option<&str>) -> Option<&str> {
    let (scheme, token) = header?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unauthorized(detail: &str) -> ApiError {
    ApiError::new(Code::Unauthorized, detail)
}
