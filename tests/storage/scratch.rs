//! A migrated database of a test's own, and plain connections to it, for statements that the program never makes.

use malote::config::{self, Secret};
use malote::storage::{Database, Role, migrations, scratch};
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

/// A database that is thrown away at the end of a test that passes.
pub(crate) struct ScratchDatabase {
    pub(crate) settings: config::Database,
}

impl ScratchDatabase {
    /// Makes an empty one.
    pub(crate) async fn empty(name: &str) -> Self {
        let mut settings = config::load(None, None).expect("the settings are read").database;
        let unique = format!("test_{name}_{}", &Uuid::now_v7().simple().to_string()[20..]);
        scratch::create_database(&settings, &unique)
            .await
            .expect("a database");
        settings.name = unique;
        Self { settings }
    }

    /// Makes one with the whole schema.
    pub(crate) async fn migrated(name: &str) -> Self {
        let database = Self::empty(name).await;
        let owner = database.pool(Role::MigrationAdmin).await;
        migrations::up(&owner, None, |_| {}).await.expect("migrated");
        database
    }

    /// Connects as the program does.
    pub(crate) async fn pool(&self, role: Role) -> Database {
        Database::connect(&self.settings, role)
            .await
            .expect("the database lets us in")
    }

    /// Connects as anybody could who knows the role's password.
    pub(crate) async fn client(&self, role: Role) -> tokio_postgres::Client {
        let settings = &self.settings;
        let file = match role {
            Role::AppRw => &settings.app_rw_password_file,
            Role::AppSystem => &settings.app_system_password_file,
            Role::MigrationAdmin => &settings.migration_password_file,
            Role::ReadonlyAudit => &settings.audit_password_file,
        };
        let password = Secret::read(file, "the role's password").expect("a password");
        let (client, connection) = tokio_postgres::Config::new()
            .host(&settings.host)
            .port(settings.port)
            .dbname(&settings.name)
            .user(role.as_str())
            .password(password.expose())
            .connect(NoTls)
            .await
            .expect("the database lets us in");
        tokio::spawn(connection);
        client
    }

    /// Throws it away.
    pub(crate) async fn discard(self) {
        let name = self.settings.name.clone();
        scratch::drop_database(&self.settings, &name)
            .await
            .expect("thrown away");
    }
}

/// Gives the code of a refusal.
pub(crate) fn refusal<T>(answer: Result<T, tokio_postgres::Error>) -> Option<SqlState> {
    answer.err().and_then(|error| error.code().cloned())
}
