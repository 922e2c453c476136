//! Which secrets there are: their names in the store and in metrics, and the settings that name their files.

use domain::hop::HopKey;

use super::TokenKeys;

/// A secret of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretName {
    /// The password of `app_rw`.
    AppRw,
    /// The password of `app_system`.
    AppSystem,
    /// The password of `migration_admin`.
    MigrationAdmin,
    /// The password of `readonly_audit`.
    ReadonlyAudit,
    /// Redis's password.
    Redis,
    /// The broker's password.
    RabbitMq,
    /// What operators show.
    AdminKey,
    /// With which Meta signs.
    AppSecret,
    /// With which Meta signed before.
    PreviousAppSecret,
    /// What Meta's handshake says.
    VerifyToken,
    /// With which the relay signs.
    RelayKey,
    /// With which the relay signed before.
    PreviousRelayKey,
    /// With which the relay itself signs, on its own host.
    EdgeKey,
    /// The keys that wrap the senders' access tokens.
    TokenKeys,
}

impl SecretName {
    /// Every secret.
    pub const ALL: [Self; 14] = [
        Self::AppRw,
        Self::AppSystem,
        Self::MigrationAdmin,
        Self::ReadonlyAudit,
        Self::Redis,
        Self::RabbitMq,
        Self::AdminKey,
        Self::AppSecret,
        Self::PreviousAppSecret,
        Self::VerifyToken,
        Self::RelayKey,
        Self::PreviousRelayKey,
        Self::EdgeKey,
        Self::TokenKeys,
    ];

    /// Gives its name in the store, in metrics and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AppRw => "app_rw",
            Self::AppSystem => "app_system",
            Self::MigrationAdmin => "migration_admin",
            Self::ReadonlyAudit => "readonly_audit",
            Self::Redis => "redis",
            Self::RabbitMq => "rabbitmq",
            Self::AdminKey => "admin",
            Self::AppSecret => "app_secret",
            Self::PreviousAppSecret => "previous_app_secret",
            Self::VerifyToken => "verify_token",
            Self::RelayKey => "relay_key",
            Self::PreviousRelayKey => "previous_relay_key",
            Self::EdgeKey => "edge_key",
            Self::TokenKeys => "token_keys",
        }
    }

    /// Gives the setting that names its file: section and key.
    pub const fn setting(self) -> (&'static str, &'static str) {
        match self {
            Self::AppRw => ("database", "app_rw_password_file"),
            Self::AppSystem => ("database", "app_system_password_file"),
            Self::MigrationAdmin => ("database", "migration_password_file"),
            Self::ReadonlyAudit => ("database", "audit_password_file"),
            Self::Redis => ("redis", "password_file"),
            Self::RabbitMq => ("broker", "password_file"),
            Self::AdminKey => ("admin", "key_file"),
            Self::AppSecret => ("meta", "app_secret_file"),
            Self::PreviousAppSecret => ("meta", "previous_app_secret_file"),
            Self::VerifyToken => ("meta", "verify_token_file"),
            Self::RelayKey => ("webhooks", "relay_key_file"),
            Self::PreviousRelayKey => ("webhooks", "previous_relay_key_file"),
            Self::EdgeKey => ("relay", "key_file"),
            Self::TokenKeys => ("secrets", "token_keys_file"),
        }
    }

    /// Gives the variable that may hold the secret itself, outside of production.
    pub fn variable(self) -> String {
        let (section, key) = self.setting();
        let key = key.trim_end_matches("_file");
        format!("MALOTE_{section}__{key}").to_ascii_uppercase()
    }

    /// Tells whether a server does without it: where it is nowhere, nothing is wrong.
    pub(super) const fn is_optional(self) -> bool {
        matches!(
            self,
            Self::PreviousAppSecret | Self::RelayKey | Self::PreviousRelayKey | Self::EdgeKey
        )
    }

    /// Tells what makes a value unusable, whoever would take it.
    pub(super) fn problem_of(self, value: &str) -> Option<&'static str> {
        match self {
            Self::AdminKey if value.len() < ADMIN_KEY_SHORTEST => {
                Some("the admin key needs 32 characters at least")
            }
            Self::RelayKey | Self::PreviousRelayKey | Self::EdgeKey if HopKey::parse(value).is_err() => {
                Some("it is no relay's key")
            }
            Self::TokenKeys if TokenKeys::parse(value).is_err() => {
                Some("each line is id:64 hexadecimal digits (`malote secrets new-key` makes one)")
            }
            _ => None,
        }
    }
}

/// Characters of an admin key that cannot be guessed.
const ADMIN_KEY_SHORTEST: usize = 32;
