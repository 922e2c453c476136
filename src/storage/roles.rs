//! The four roles of the database and what each may do (`deploy/postgres/roles.sql`).

use crate::config::{self, ConfigError, Secret};

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

    /// Reads its password from the file that the settings name.
    pub(super) fn password(self, settings: &config::Database) -> Result<Secret, ConfigError> {
        let (file, setting) = match self {
            Self::AppRw => (&settings.app_rw_password_file, "database.app_rw_password_file"),
            Self::AppSystem => (
                &settings.app_system_password_file,
                "database.app_system_password_file",
            ),
            Self::MigrationAdmin => (
                &settings.migration_password_file,
                "database.migration_password_file",
            ),
            Self::ReadonlyAudit => (&settings.audit_password_file, "database.audit_password_file"),
        };
        Secret::read(file, setting)
    }
}
