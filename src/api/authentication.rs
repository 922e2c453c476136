//! Who calls: a tenant under its API key, or an operator under the admin key. Both are compared in constant time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use domain::api_key;
use domain::ids::TenantId;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::http::Method;

use super::audit::{self, WrongKey};
use super::context::Context;
use super::error::{ApiError, Code};
use super::limits::{KEY_BELIEVED_FOR, KEYS_REMEMBERED_MOST};
pub(super) use super::scope::Scope;
use crate::config::{SecretName, Secrets};
use crate::storage::api_keys::{self, StoredKey};

/// Characters of something that is no key which are kept for the audit log.
const STRANGE_KEPT: usize = 4;
/// Digits of the fingerprint of the operators' key.
const FINGERPRINT_DIGITS: usize = 12;

/// Keys that were shown a moment ago, by prefix.
#[derive(Clone, Default)]
pub struct KnownKeys(Arc<Mutex<HashMap<String, (Instant, StoredKey)>>>);

impl KnownKeys {
    fn recall(&self, prefix: &str, now: Instant) -> Option<StoredKey> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (asked_at, key) = known.get(prefix)?;
        (now.duration_since(*asked_at) < KEY_BELIEVED_FOR).then(|| key.clone())
    }

    fn remember(&self, prefix: &str, key: &StoredKey, now: Instant) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEYS_REMEMBERED_MOST {
            known.clear();
        }
        known.insert(prefix.to_owned(), (now, key.clone()));
    }
}

/// Lets a tenant in whose key has the scope: to read it for GET, to act on it for every other method.
pub(super) fn tenant(context: &Context, scope: Scope) -> BoxedFilter<(TenantId,)> {
    let context = context.clone();
    warp::method()
        .and(warp::header::optional::<String>("authorization"))
        .and_then(move |method: Method, header: Option<String>| {
            let context = context.clone();
            async move {
                let found = identify(&context, header.as_deref(), scope, &method).await;
                found.map_err(warp::reject::custom)
            }
        })
        .boxed()
}

/// Who calls, for the records of what was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// The tenant.
    pub tenant: TenantId,
    /// The prefix of its key, which is no secret.
    pub key: String,
}

/// Lets a tenant in whose key has the scope, and tells which key it was.
pub(super) fn caller(context: &Context, scope: Scope) -> BoxedFilter<(Caller,)> {
    tenant(context, scope)
        .and(warp::header::optional::<String>("authorization"))
        .map(|tenant, header: Option<String>| Caller {
            tenant,
            key: bearer(header.as_deref())
                .and_then(api_key::prefix_of)
                .unwrap_or_default()
                .to_owned(),
        })
        .boxed()
}

/// Lets operators in. What they change is written to the audit log first.
pub(super) fn operator(context: &Context) -> BoxedFilter<()> {
    let context = context.clone();
    warp::method()
        .and(warp::path::full())
        .and(warp::header::optional::<String>("authorization"))
        .and_then(
            move |method: Method, path: warp::path::FullPath, header: Option<String>| {
                let context = context.clone();
                async move {
                    let admitted = admit_operator(&context, &method, path.as_str(), header.as_deref()).await;
                    admitted.map_err(warp::reject::custom)
                }
            },
        )
        .untuple_one()
        .boxed()
}

async fn admit_operator(
    context: &Context,
    method: &Method,
    path: &str,
    header: Option<&str>,
) -> Result<(), ApiError> {
    let needed = || unauthorized("the admin key is needed: Authorization: Bearer <key>");
    let shown = bearer(header).ok_or_else(needed)?;
    if !is_operators(&context.secrets, shown)? {
        let wrong = WrongKey {
            id: None,
            tenant: None,
            shown: "",
            reason: "not the operators' key",
        };
        return Err(refuse(context, &wrong, needed()).await);
    }
    if method == Method::GET {
        return Ok(());
    }
    audit::begin(
        &context.app_system,
        &context.guard,
        fingerprint(shown),
        method,
        path,
    )
    .await
}

/// Tells whether this is the admin key, or for a while the one that it replaced.
fn is_operators(secrets: &Secrets, shown: &str) -> Result<bool, ApiError> {
    let keys = secrets.accepted(SecretName::AdminKey).map_err(|error| {
        tracing::error!(%error, "the admin key cannot be read; no operator is let in");
        ApiError::new(Code::Unavailable, "operators cannot be let in now")
    })?;
    let matching = keys
        .iter()
        .filter(|key| bool::from(shown.as_bytes().ct_eq(key.expose().as_bytes())));
    Ok(matching.count() > 0)
}

/// Tells one operators' key from another without telling anything about it.
fn fingerprint(key: &str) -> String {
    let digits: String = Sha256::digest(key.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    digits[..FINGERPRINT_DIGITS].to_owned()
}

async fn identify(
    context: &Context,
    header: Option<&str>,
    scope: Scope,
    method: &Method,
) -> Result<TenantId, ApiError> {
    let shown =
        bearer(header).ok_or_else(|| unauthorized("send your API key: Authorization: Bearer mlt_..."))?;
    let Some(prefix) = api_key::prefix_of(shown) else {
        let kept: String = shown.chars().take(STRANGE_KEPT).collect();
        let wrong = wrong(None, &kept, "not an API key");
        return Err(refuse(context, &wrong, unauthorized("this is not an API key")).await);
    };
    let Some(key) = find(context, prefix).await? else {
        return Err(refuse(context, &wrong(None, prefix, "unknown"), unknown()).await);
    };
    if let Err((reason, problem)) = recognise(&key, shown, Timestamp::now()) {
        return Err(refuse(context, &wrong(Some(&key), prefix, reason), problem).await);
    }
    context.guard.count(key.id.0).await?;
    admit(&key, scope, method)
}

fn wrong<'a>(key: Option<&StoredKey>, shown: &'a str, reason: &'static str) -> WrongKey<'a> {
    WrongKey {
        id: key.map(|key| key.id.0),
        tenant: key.map(|key| key.tenant.0),
        shown,
        reason,
    }
}

/// Counts and writes down a wrong key, and gives what to answer.
async fn refuse(context: &Context, wrong: &WrongKey<'_>, problem: ApiError) -> ApiError {
    match context.guard.count_wrong_key().await {
        Ok(()) => {
            audit::wrong_key(&context.app_system, wrong).await;
            problem
        }
        Err(too_many) => too_many,
    }
}

async fn find(context: &Context, prefix: &str) -> Result<Option<StoredKey>, ApiError> {
    let now = Instant::now();
    if let Some(key) = context.known_keys.recall(prefix, now) {
        return Ok(Some(key));
    }
    let mut connection = context.app_rw.get().await?;
    let found = api_keys::find(&mut connection, prefix).await?;
    if let Some(key) = &found {
        context.known_keys.remember(prefix, key, now);
        note_used(context, key);
    }
    Ok(found)
}

/// Writes behind the answer that a key is in use. Asked for only when the key was looked up, written once a minute at most.
fn note_used(context: &Context, key: &StoredKey) {
    let (database, tenant, id) = (context.app_system.clone(), key.tenant, key.id);
    tokio::spawn(async move {
        let noted = async { api_keys::note_used(&mut database.get().await?, tenant, id).await };
        if let Err(error) = noted.await {
            tracing::debug!(%error, key.id = %id, "the last use of a key was not written");
        }
    });
}

/// Decides whether a shown key is the stored one, and whether that is live.
fn recognise(key: &StoredKey, shown: &str, now: Timestamp) -> Result<(), (&'static str, ApiError)> {
    if !bool::from(api_key::hash(shown).ct_eq(&key.sha256)) {
        return Err(("mismatch", unknown()));
    }
    if key.is_revoked {
        return Err(("revoked", unknown()));
    }
    match key.expires_at {
        Some(end) if end <= now => {
            let detail = format!("this key expired at {end}; ask your operator for a new one");
            Err(("expired", ApiError::new(Code::KeyExpired, detail)))
        }
        _ => Ok(()),
    }
}

/// Decides whether a key that is right may do what it asks for.
fn admit(key: &StoredKey, scope: Scope, method: &Method) -> Result<TenantId, ApiError> {
    if !key.is_active {
        let detail = "the tenant is suspended; ask your operator";
        return Err(ApiError::new(Code::Forbidden, detail));
    }
    if !scope.is_granted(&key.scopes, method) {
        let detail = format!("this key lacks the scope {:?}", scope.needed(method));
        return Err(ApiError::new(Code::ScopeMissing, detail));
    }
    Ok(key.tenant)
}

fn unknown() -> ApiError {
    unauthorized("this key is unknown or revoked")
}

fn bearer(header: Option<&str>) -> Option<&str> {
    let (scheme, token) = header?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unauthorized(detail: &str) -> ApiError {
    ApiError::new(Code::Unauthorized, detail)
}

#[cfg(test)]
mod tests {
    use domain::api_key::NewApiKey;
    use domain::ids::ApiKeyId;
    use uuid::Uuid;

    use super::*;

    fn shown_and_stored() -> (String, StoredKey) {
        let made = NewApiKey::from_random([9; 38]);
        let stored = StoredKey {
            id: ApiKeyId(Uuid::nil()),
            tenant: TenantId(Uuid::nil()),
            sha256: api_key::hash(&made.text),
            scopes: vec!["billing:read".to_owned()],
            is_active: true,
            expires_at: None,
            is_revoked: false,
        };
        (made.text, stored)
    }

    fn refused(shown: &str, stored: &StoredKey) -> (&'static str, Code) {
        let (reason, problem) = recognise(stored, shown, Timestamp::UNIX_EPOCH).unwrap_err();
        (reason, problem.code)
    }

    #[test]
    fn a_key_opens_what_its_scopes_name_and_nothing_else() {
        let (shown, stored) = shown_and_stored();
        assert!(recognise(&stored, &shown, Timestamp::UNIX_EPOCH).is_ok());
        assert!(admit(&stored, Scope::Billing, &Method::GET).is_ok());
        for (scope, method) in [(Scope::Billing, Method::POST), (Scope::Campaigns, Method::GET)] {
            let error = admit(&stored, scope, &method).unwrap_err();
            assert_eq!(error.code, Code::ScopeMissing);
            assert!(error.detail.contains(scope.needed(&method)), "{}", error.detail);
        }
    }

    #[test]
    fn a_key_that_differs_or_was_revoked_is_unknown_and_says_no_more() {
        let (shown, stored) = shown_and_stored();
        let revoked = StoredKey {
            is_revoked: true,
            ..stored.clone()
        };
        let other = shown.replace("_0909", "_0808");
        assert_eq!(refused(&shown, &revoked), ("revoked", Code::Unauthorized));
        assert_eq!(refused(&other, &stored), ("mismatch", Code::Unauthorized));
    }

    #[test]
    fn only_who_has_the_whole_key_is_told_that_it_expired() {
        let (shown, stored) = shown_and_stored();
        let expired = StoredKey {
            expires_at: Some(Timestamp::UNIX_EPOCH),
            ..stored
        };
        assert_eq!(refused(&shown, &expired), ("expired", Code::KeyExpired));
        let other = shown.replace("_0909", "_0808");
        assert_eq!(refused(&other, &expired).1, Code::Unauthorized);
    }

    #[test]
    fn a_suspended_tenant_is_forbidden() {
        let suspended = StoredKey {
            is_active: false,
            ..shown_and_stored().1
        };
        let error = admit(&suspended, Scope::Billing, &Method::GET).unwrap_err();
        assert_eq!(error.code, Code::Forbidden);
    }

    #[test]
    fn a_key_is_believed_for_a_moment_and_then_asked_for_again() {
        let (known, now) = (KnownKeys::default(), Instant::now());
        known.remember("prefix", &shown_and_stored().1, now);
        assert!(known.recall("prefix", now).is_some());
        assert!(known.recall("other", now).is_none());
        assert!(known.recall("prefix", now + KEY_BELIEVED_FOR).is_none());
    }

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        assert_eq!(bearer(Some("bearer x")), Some("x"));
        assert_eq!(bearer(Some("Basic x")), None);
        assert_eq!(bearer(None), None);
    }

    #[test]
    fn a_fingerprint_tells_keys_apart() {
        assert_eq!(fingerprint("one").len(), FINGERPRINT_DIGITS);
        assert_ne!(fingerprint("one"), fingerprint("other"));
    }
}
