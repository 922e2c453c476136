//! What is written to the audit log, and when: an operator's action before it takes effect and after it ended; a wrong key.

use uuid::Uuid;
use warp::http::{Method, StatusCode};

use super::call::{self, Action, Call};
use super::error::ApiError;
use super::guard::Guard;
use crate::storage::audit_log::{self, NewEntry};
use crate::storage::{Database, StorageError};

/// Characters of a path that are kept.
const TARGET_LONGEST: usize = 500;

/// Writes down what an operator is about to do. What cannot be written down is not done.
pub(super) async fn begin(
    database: &Database,
    guard: &Guard,
    operator: String,
    method: &Method,
    path: &str,
) -> Result<(), ApiError> {
    let Some(call) = call::current() else {
        return Ok(());
    };
    let operation = guard.routes.find(method.as_str(), path);
    let action = Action {
        operator,
        name: operation.map_or_else(|| format!("{method} {path}"), |operation| operation.name()),
        tenant: tenant_of(path),
        target: path.chars().take(TARGET_LONGEST).collect(),
    };
    write(database, &call, &action, "begun", None).await?;
    let _ = call.action.set(action);
    Ok(())
}

/// Writes down how it ended.
pub(super) async fn finish(database: &Database, call: &Call, status: StatusCode) {
    let Some(action) = call.action.get() else { return };
    let outcome = match status {
        status if status.is_success() => "done",
        status if status.is_client_error() => "refused",
        _ => "failed",
    };
    if let Err(error) = write(database, call, action, outcome, Some(status.as_u16())).await {
        tracing::error!(%error, request.id = %call.id, action = action.name, outcome, "the end of an action was not written to the audit log");
    }
}

async fn write(
    database: &Database,
    call: &Call,
    action: &Action,
    outcome: &'static str,
    status: Option<u16>,
) -> Result<(), StorageError> {
    let target = match call.made() {
        Some(made) => format!("{} {made}", action.target),
        None => action.target.clone(),
    };
    let makes_tenant = action.name.ends_with("/tenants");
    let entry = NewEntry {
        request: call.id,
        actor_kind: "operator",
        actor: &action.operator,
        action: &action.name,
        tenant: action.tenant.or_else(|| call.made().filter(|_| makes_tenant)),
        target: &target,
        from: &call.from.to_string(),
        outcome,
        status,
    };
    audit_log::add(&mut database.get().await?, &entry).await
}

/// A key that was not let in.
pub(super) struct WrongKey<'a> {
    /// Its id, if there is one.
    pub id: Option<Uuid>,
    /// Its tenant, if there is one.
    pub tenant: Option<Uuid>,
    /// What of it is no secret.
    pub shown: &'a str,
    /// Why it was not let in.
    pub reason: &'static str,
}

/// Writes down that a wrong key was shown.
pub(super) async fn wrong_key(database: &Database, wrong: &WrongKey<'_>) {
    let Some(call) = call::current() else { return };
    let written = async {
        let actor = wrong
            .id
            .map_or_else(|| wrong.shown.to_owned(), |id| id.to_string());
        let entry = NewEntry {
            request: call.id,
            actor_kind: if wrong.id.is_some() { "api_key" } else { "unknown" },
            actor: &actor,
            action: "show a key",
            tenant: wrong.tenant,
            target: wrong.reason,
            from: &call.from.to_string(),
            outcome: "refused",
            status: Some(401),
        };
        audit_log::add(&mut database.get().await?, &entry).await
    };
    if let Err(error) = written.await {
        tracing::error!(%error, request.id = %call.id, "a wrong key was not written to the audit log");
    }
}

/// Finds whose tenant a path of the operators' names.
fn tenant_of(path: &str) -> Option<Uuid> {
    let mut segments = path.split('/').skip_while(|segment| *segment != "tenants");
    segments.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_tenant() {
        let id = Uuid::from_u128(7);
        assert_eq!(tenant_of(&format!("/admin/v1/tenants/{id}/suspend")), Some(id));
        assert_eq!(tenant_of("/admin/v1/tenants"), None);
        assert_eq!(tenant_of(&format!("/admin/v1/plans/{id}")), None);
    }
}
