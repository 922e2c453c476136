//! From plain to sealed access tokens while two releases run side by side (`make previous`): the program before the expansion works on
//! the expanded schema, alone and beside the present one, and the contract waits until it is gone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use malote::storage::migrator::{self, MigrateError, Options as Migrating};
use malote::storage::{Database, Role};
use malote::trial::{Client, Installation, Options, PlanChoice, Tenant, counts_of};
use serde_json::json;

/// The expansion, and the contract of the same change.
const EXPANDED: i32 = 16;
const CONTRACT: &str = "0018_no_plain_tokens";
/// The number of the previous program's node, and of the present one's.
const PREVIOUS: usize = 0;
const PRESENT: usize = 1;
/// How long a small campaign may take, with a partition changing hands before.
const SOON: Duration = Duration::from_secs(90);
/// Recipients of each campaign.
const RECIPIENTS: u64 = 40;

/// A setting that the previous program does not know and would refuse: `make previous` hands it over under another name.
const TOKEN_KEYS: &str = "MALOTE_SECRETS__TOKEN_KEYS_FILE";

fn token_keys() -> String {
    malote::config::stack_variable("TOKEN_KEYS").expect("run `make previous`")
}

/// What `dev/previous` builds.
fn previous() -> PathBuf {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/previous/build/debug/malote");
    assert!(program.exists(), "{}: run `make previous`", program.display());
    program
}

struct Change {
    installation: Installation,
    owner: Database,
    recipients: u64,
}

impl Change {
    async fn start() -> Self {
        let options = Options {
            name: "previous",
            program: previous(),
            simulator: simulator::config::Config::default(),
            settings: Vec::new(),
        };
        let installation = Installation::start_at(options, Some(EXPANDED))
            .await
            .expect("the previous program serves on the expanded schema");
        let owner = Database::connect(&installation.config().database, Role::MigrationAdmin).await;
        Self {
            installation,
            owner: owner.expect("the owner"),
            recipients: 0,
        }
    }

    async fn tenant(&self, name: &str) -> Tenant {
        Tenant::create(&self.installation, name, PlanChoice::FREE, 80)
            .await
            .expect("a tenant")
    }

    /// Sends a whole campaign by whoever serves now; all of it must arrive.
    async fn send(&mut self, tenant: &mut Tenant, name: &str) {
        tenant.reconnect(&self.installation);
        let launched = tenant.launch_to(name, self.recipients, RECIPIENTS).await;
        self.recipients += RECIPIENTS;
        let campaign = launched.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        let finished = tenant.finished(&campaign, SOON).await;
        finished.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        self.installation.settle(SOON).await.expect("settled");
        let seen = tenant.campaign(&campaign).await.expect("the campaign");
        let arrived = ["delivered", "read"].map(|state| counts_of(&seen, state).expect("a count"));
        assert_eq!(arrived.iter().sum::<i64>(), RECIPIENTS as i64, "{name}: {seen}");
    }

    /// Renews a number's token by whoever serves now.
    async fn renew(&self, tenant: &mut Tenant, token: &str) {
        tenant.reconnect(&self.installation);
        let path = format!("/v1/senders/{}", tenant.sender);
        let renewed = tenant.api.patch(&path, &json!({"access_token": token})).await;
        renewed.expect("renewed");
    }

    /// Ends tokens at Meta: whoever sends under one of them is refused. Waits longer than a number is remembered.
    async fn revoke(&self, tokens: &[&str]) {
        let meta = Client::new(&self.installation.simulator.address().to_string());
        let ended = meta.put("/_control/tokens", &json!({ "revoked": tokens })).await;
        ended.expect("revoked");
        tokio::time::sleep(Duration::from_secs(6)).await;
    }

    async fn stop(&mut self, node: usize) {
        self.installation.stop_node(node).await.expect("it ends well");
    }

    async fn start_again(&mut self, node: usize) {
        self.installation.start_node(node).await.expect("it serves");
    }

    /// Counts numbers.
    async fn count(&self, condition: &str) -> i64 {
        let from = format!("senders s WHERE {condition}");
        self.installation.count_rows(&from).await.expect("counted")
    }

    async fn migrate(&self, retired_for: Duration) -> Result<(), MigrateError> {
        let options = Migrating {
            retired_for,
            ..Migrating::default()
        };
        migrator::up(&self.owner, options, |_| {}).await
    }

    fn seal_all(&self) {
        let database = &self.installation.config().database.name;
        let sealed = std::process::Command::new(env!("CARGO_BIN_EXE_malote"))
            .args(["secrets", "rotate-key"])
            .env("MALOTE_DATABASE__NAME", database)
            .env(TOKEN_KEYS, token_keys())
            .status();
        assert!(sealed.expect("it runs").success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_previous_program_works_until_the_contract_and_not_after() {
    let mut change = Change::start().await;
    let mut old = change.tenant("old").await;
    change.send(&mut old, "previous alone, expanded").await;

    // What is pending is applied behind the contract, which waits for the program that runs; what is plain stops the backfill.
    let unsealed = change.migrate(Duration::from_secs(3_600)).await;
    assert!(
        unsealed
            .expect_err("a plain token is left")
            .to_string()
            .contains("plain text")
    );
    change.seal_all();
    let waits = change.migrate(Duration::from_secs(3_600)).await;
    assert!(
        matches!(&waits, Err(MigrateError::OldPrograms { name, .. }) if name == CONTRACT),
        "{waits:?}"
    );
    change.send(&mut old, "previous alone, sealed").await;

    // Side by side: each makes a number and renews a token that the other one uses.
    let program = env!("CARGO_BIN_EXE_malote").into();
    let added = change
        .installation
        .add_node_of(program, "present", &[(TOKEN_KEYS, &token_keys())])
        .await;
    assert_eq!(added.expect("the present program serves beside it"), PRESENT);
    let mut during = change.tenant("during").await;
    change.send(&mut during, "both").await;
    change.stop(PREVIOUS).await;
    change.send(&mut during, "present, number of the previous").await;
    let mut new = change.tenant("new").await;
    change.renew(&mut old, "of the present, for old").await;
    change.renew(&mut during, "of the present, for during").await;
    change.renew(&mut new, "of the present, for new").await;
    change.revoke(&["a-token-of-the-trial"]).await;

    change.start_again(PREVIOUS).await;
    change.stop(PRESENT).await;
    change.send(&mut old, "previous, token of the present").await;
    change.send(&mut new, "previous, number of the present").await;
    change.renew(&mut new, "of the previous, for new").await;
    change
        .revoke(&["a-token-of-the-trial", "of the present, for new"])
        .await;
    assert_eq!(
        change.count("token_sealed IS NULL").await,
        1,
        "a stale seal is gone"
    );

    change.start_again(PRESENT).await;
    change.stop(PREVIOUS).await;
    change.send(&mut new, "present, token of the previous").await;

    // The contract: only when everything is sealed and nobody old is alive.
    change.seal_all();
    change.migrate(Duration::ZERO).await.expect("contracted");
    assert_eq!(change.count("to_jsonb(s) ? 'access_token'").await, 0);
    for tenant in [&mut old, &mut during, &mut new] {
        change.send(tenant, "present, contracted").await;
    }
    let refused = change.installation.start_node(PREVIOUS).await;
    let said = format!("{:#}", refused.expect_err("it must not serve any more"));
    assert!(said.contains(CONTRACT), "{said}");
    drop(change.owner);
    change.installation.stop().await.expect("stopped");
}
