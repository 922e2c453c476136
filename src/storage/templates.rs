//! Templates as they were last read from Meta.

use domain::category::Category;
use domain::ids::TenantId;
use jiff::Timestamp;

use super::{StorageError, Transaction};
use crate::meta::FoundTemplate;

/// A template.
#[derive(Clone, Debug)]
pub struct StoredTemplate {
    /// Its account at Meta.
    pub waba_id: String,
    /// Its name.
    pub name: String,
    /// Its language.
    pub language: String,
    /// What its messages are billed as.
    pub category: String,
    /// What Meta last said of it.
    pub status: String,
    /// Its components, as JSON.
    pub components: String,
    /// When it was last read.
    pub synced_at: Timestamp,
}

/// Lists a tenant's templates by name.
///
/// # Errors
/// What the database says.
pub async fn list(
    transaction: &mut Transaction,
    tenant: TenantId,
) -> Result<Vec<StoredTemplate>, StorageError> {
    let rows = transaction
        .query(
            "SELECT waba_id, name, language, category, status, components::text, synced_at FROM templates
             WHERE tenant_id = $1 ORDER BY waba_id, name, language",
            &[&tenant.0],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(StoredTemplate {
                waba_id: row.try_get(0)?,
                name: row.try_get(1)?,
                language: row.try_get(2)?,
                category: row.try_get(3)?,
                status: row.try_get(4)?,
                components: row.try_get(5)?,
                synced_at: row.try_get(6)?,
            })
        })
        .collect()
}

/// Stores what Meta says of a template now.
///
/// # Errors
/// What the database says.
pub async fn put(
    transaction: &mut Transaction,
    tenant: TenantId,
    waba_id: &str,
    template: &FoundTemplate,
    category: Category,
) -> Result<(), StorageError> {
    transaction
        .execute(
            "INSERT INTO templates (tenant_id, waba_id, name, language, category, status, components, meta_id)
             VALUES ($1, $2, $3, $4, $5, $6, $7::text::json, $8)
             ON CONFLICT (tenant_id, waba_id, name, language) DO UPDATE SET category = excluded.category,
                status = excluded.status, components = excluded.components, meta_id = excluded.meta_id, synced_at = now()",
            &[
                &tenant.0,
                &waba_id,
                &template.name,
                &template.language,
                &category.as_str(),
                &template.status,
                &template.components,
                &template.meta_id,
            ],
        )
        .await?;
    Ok(())
}
