//! The suppression list: who a tenant must not write to.

use domain::ids::TenantId;
use domain::recipient::Recipient;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::refused::Refused;
use crate::storage::Database;
use crate::storage::suppressions::{self, Suppression};

const MOST_REASON_CHARACTERS: usize = 500;

/// Why a recipient is on the list.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SuppressionBody {
    /// For people; `manual` if absent.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A recipient on the list.
#[derive(Debug, Serialize, ToSchema)]
pub struct SuppressionView {
    /// Who.
    pub recipient: String,
    /// Why.
    pub reason: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl From<Suppression> for SuppressionView {
    fn from(suppression: Suppression) -> Self {
        Self {
            recipient: suppression.recipient,
            reason: suppression.reason,
            created_at: suppression.created_at,
        }
    }
}

/// Lists recipients in their order, `most` of them after `after`.
///
/// # Errors
/// What the database says.
pub async fn list(
    database: &Database,
    tenant: TenantId,
    after: Option<&str>,
    most: i64,
) -> Result<Vec<SuppressionView>, Refused> {
    let mut transaction = database.begin_for(tenant).await?;
    let found = suppressions::list(&mut transaction, tenant, after, most).await?;
    transaction.commit().await?;
    Ok(found.into_iter().map(SuppressionView::from).collect())
}

/// Puts a recipient on the list: nothing that is not sent yet will be sent.
///
/// # Errors
/// When the recipient is none, or the reason too long.
pub async fn put(
    database: &Database,
    tenant: TenantId,
    recipient: &str,
    body: SuppressionBody,
) -> Result<SuppressionView, Refused> {
    let recipient = checked(recipient)?;
    let reason = body.reason.unwrap_or_else(|| "manual".to_owned());
    if reason.chars().count() > MOST_REASON_CHARACTERS || reason.contains('\0') {
        return Err(Refused::invalid(
            "reason",
            format!("at most {MOST_REASON_CHARACTERS} characters"),
        ));
    }
    let mut transaction = database.begin_for(tenant).await?;
    let stored = suppressions::put(&mut transaction, tenant, &recipient, &reason).await?;
    transaction.commit().await?;
    Ok(stored.into())
}

/// Takes a recipient off the list. What was suppressed before stays so.
///
/// # Errors
/// When the recipient is none, or is not on the list.
pub async fn remove(database: &Database, tenant: TenantId, recipient: &str) -> Result<(), Refused> {
    let recipient = checked(recipient)?;
    let mut transaction = database.begin_for(tenant).await?;
    let removed = suppressions::remove(&mut transaction, tenant, &recipient).await?;
    transaction.commit().await?;
    if removed {
        Ok(())
    } else {
        Err(Refused::NotFound("suppression"))
    }
}

fn checked(recipient: &str) -> Result<Recipient, Refused> {
    recipient
        .parse()
        .map_err(|error| Refused::invalid("recipient", error))
}
