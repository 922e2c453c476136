//! Who calls: a tenant under its API key, or an operator under the admin key. Both are compared in constant time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use domain::api_key;
use domain::ids::TenantId;
use subtle::ConstantTimeEq as _;
use warp::Filter as _;
use warp::filters::BoxedFilter;

use super::context::Context;
use super::error::{ApiError, Code};
use super::limits::{KEY_BELIEVED_FOR, KEYS_REMEMBERED_MOST};
use crate::storage::api_keys::{self, StoredKey};

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

/// Lets a tenant in whose key has the scope.
pub(super) fn tenant(context: &Context, scope: Scope) -> BoxedFilter<(TenantId,)> {
    let context = context.clone();
    warp::header::optional::<String>("authorization")
        .and_then(move |header: Option<String>| {
            let context = context.clone();
            async move {
                let found = identify(&context, header.as_deref(), scope).await;
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

/// Lets operators in.
pub(super) fn operator(context: &Context) -> BoxedFilter<()> {
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
        .boxed()
}

async fn identify(context: &Context, header: Option<&str>, scope: Scope) -> Result<TenantId, ApiError> {
    let shown =
        bearer(header).ok_or_else(|| unauthorized("send your API key: Authorization: Bearer mlt_..."))?;
    let prefix = api_key::prefix_of(shown).ok_or_else(|| unauthorized("this is not an API key"))?;
    let now = Instant::now();
    let key = match context.known_keys.recall(prefix, now) {
        Some(key) => key,
        None => {
            let mut connection = context.app_rw.get().await?;
            let key = api_keys::find(&mut connection, prefix)
                .await?
                .ok_or_else(unknown)?;
            context.known_keys.remember(prefix, &key, now);
            key
        }
    };
    admit(&key, shown, jiff::Timestamp::now(), scope)
}

/// Decides whether a shown key that has a stored one may do what it asks for.
fn admit(key: &StoredKey, shown: &str, now: jiff::Timestamp, scope: Scope) -> Result<TenantId, ApiError> {
    let matches = bool::from(api_key::hash(shown).ct_eq(&key.sha256));
    if !matches || !key.is_live(now) {
        return Err(unknown());
    }
    let forbidden = |detail: String| Err(ApiError::new(Code::Forbidden, detail));
    if !key.is_active {
        return forbidden("the tenant is suspended; ask your operator".to_owned());
    }
    if !key.scopes.iter().any(|given| given == scope.as_str()) {
        return forbidden(format!("this key lacks the scope {:?}", scope.as_str()));
    }
    Ok(key.tenant)
}

fn unknown() -> ApiError {
    unauthorized("this key is unknown, expired or revoked")
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
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;

    fn shown_and_stored() -> (String, StoredKey) {
        let made = NewApiKey::from_random([9; 38]);
        let stored = StoredKey {
            tenant: TenantId(Uuid::nil()),
            sha256: api_key::hash(&made.text),
            scopes: vec!["billing".to_owned()],
            is_active: true,
            expires_at: None,
            is_revoked: false,
        };
        (made.text, stored)
    }

    fn refused(shown: &str, stored: &StoredKey, scope: Scope) -> Code {
        admit(stored, shown, Timestamp::UNIX_EPOCH, scope)
            .unwrap_err()
            .code
    }

    #[test]
    fn a_key_opens_what_its_scopes_name_and_nothing_else() {
        let (shown, stored) = shown_and_stored();
        assert!(admit(&stored, &shown, Timestamp::UNIX_EPOCH, Scope::Billing).is_ok());
        assert_eq!(refused(&shown, &stored, Scope::Campaigns), Code::Forbidden);
    }

    #[test]
    fn a_key_that_ended_or_differs_is_unknown_and_says_no_more() {
        let (shown, stored) = shown_and_stored();
        let expired = StoredKey {
            expires_at: Some(Timestamp::UNIX_EPOCH),
            ..stored.clone()
        };
        let revoked = StoredKey {
            is_revoked: true,
            ..stored.clone()
        };
        let other = shown.replace("_0909", "_0808");
        for (shown, stored) in [(&shown, &expired), (&shown, &revoked), (&other, &stored)] {
            assert_eq!(refused(shown, stored, Scope::Billing), Code::Unauthorized);
        }
    }

    #[test]
    fn a_suspended_tenant_is_forbidden() {
        let (shown, stored) = shown_and_stored();
        let suspended = StoredKey {
            is_active: false,
            ..stored
        };
        assert_eq!(refused(&shown, &suspended, Scope::Billing), Code::Forbidden);
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
}
