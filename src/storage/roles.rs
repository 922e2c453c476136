//! The four roles of the database and what each may do (`deploy/postgres/roles.sql`).

use crate::config::SecretName;

/// As whom a pool connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The API: rows of one tenant at a time, under row-level security.
    AppRw,
    /// The committer, the planner and the operators' API: rows of all tenants.
    AppSystem,
    /// Owns the schema; `malote migrate` alone.
    MigrationAdmin,
    /// Reads everything, writes nothing: verification and audit.
    ReadonlyAudit,
}

impl Role {
    /// Gives its name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AppRw => "app_rw",
            Self::AppSystem => "app_system",
            Self::MigrationAdmin => "migration_admin",
            Self::ReadonlyAudit => "readonly_audit",
        }
    }

    /// Gives the secret that is its password.
    pub(super) const fn secret(self) -> SecretName {
        match self {
            Self::AppRw => SecretName::AppRw,
            Self::AppSystem => SecretName::AppSystem,
            Self::MigrationAdmin => SecretName::MigrationAdmin,
            Self::ReadonlyAudit => SecretName::ReadonlyAudit,
        }
    }
}
