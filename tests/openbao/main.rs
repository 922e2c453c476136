//! Secrets from a real OpenBao (`make openbao` installs it): by token and by AppRole, renewed while we watch, and away.

mod server;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use malote::config::{self, Config, Origin, SecretMetrics, SecretName, Watch};
use malote::telemetry::Metrics;
use prometheus_client::registry::Registry;
use serde_json::json;

use server::OpenBao;

/// Long enough that the watch never looks by itself in a test: it is told to.
const NEVER: Duration = Duration::from_secs(3_600);

/// Settings that know secrets by the store alone, whatever the environment names.
fn settings(directory: &Path, credentials: &str, address: &str) -> Config {
    let nowhere = directory.join("nowhere").display().to_string();
    let file = directory.join("malote.toml");
    let text = format!(
        "[secrets]\ntoken_keys_file = '{nowhere}'\nstore_address = '{address}'\nstore_mount = 'secret'\nstore_path = 'malote'\n{credentials}\n\
         [admin]\nkey_file = '{nowhere}'\n[redis]\npassword_file = '{nowhere}'\n[broker]\npassword_file = '{nowhere}'\n\
         [meta]\napp_secret_file = '{nowhere}'\nverify_token_file = '{nowhere}'\n\
         [database]\napp_rw_password_file = '{nowhere}'\napp_system_password_file = '{nowhere}'\n"
    );
    std::fs::write(&file, text).expect("a file");
    config::load(Some("development"), Some(&file))
        .expect("settings; run this without the variables of dev/stack")
}

fn by_token(bao: &OpenBao) -> String {
    format!("store_token_file = '{}'", bao.file("token", bao.root_token()))
}

fn watch(config: &Config) -> (Watch, Metrics) {
    let mut registry = Registry::default();
    let metrics = SecretMetrics::register(&mut registry);
    (
        Watch::new(config.secrets.held.clone(), NEVER, metrics),
        Metrics::new(registry),
    )
}

fn counted(metrics: &Metrics, metric: &str, secret: &str) -> u64 {
    let text = metrics.text();
    let start = format!("{metric}_total{{secret=\"{secret}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("no {start} in {text}"))
        .parse()
        .expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_secret_is_seen_and_an_absent_store_changes_nothing() {
    let mut bao = OpenBao::start().await;
    bao.write(&json!({"app_secret": "first", "verify_token": "agreed"}))
        .await;
    let config = settings(bao.directory(), &by_token(&bao), &bao.address());
    let secrets = &config.secrets.held;
    assert_eq!(
        secrets.origin(SecretName::AppSecret).expect("known"),
        Origin::Store(bao.address())
    );
    let (mut watch, metrics) = watch(&config);
    let texts = || {
        let accepted = config.meta.app_secrets().expect("known");
        accepted
            .iter()
            .map(|secret| secret.expose().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(texts(), ["first"]);

    bao.write(&json!({"app_secret": "second", "verify_token": "agreed"}))
        .await;
    watch.look().await;
    assert_eq!(
        texts(),
        ["second", "first"],
        "the one before is accepted for a while"
    );

    bao.stop().await;
    watch.look().await;
    watch.look().await;
    assert_eq!(texts(), ["second", "first"], "the last good one is kept");
    assert_eq!(counted(&metrics, "malote_secret_reload_failures", "store"), 2);

    bao.restart().await;
    bao.write(&json!({"app_secret": "third", "verify_token": "agreed"}))
        .await;
    watch.look().await;
    assert_eq!(texts()[0], "third");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approle_logs_in_again_when_its_token_has_ended() {
    let bao = OpenBao::start().await;
    bao.write(&json!({"verify_token": "one"})).await;
    let (role_id, secret_id) = bao.make_role().await;
    let credentials = format!(
        "store_role_id = '{role_id}'\nstore_secret_id_file = '{}'",
        bao.file("secret_id", &secret_id)
    );
    let config = settings(bao.directory(), &credentials, &bao.address());
    let (mut watch, metrics) = watch(&config);
    let newest = || config.meta.verify_tokens().expect("known")[0].expose().to_owned();
    assert_eq!(newest(), "one");
    bao.end_all_tokens_of_roles().await;
    bao.write(&json!({"verify_token": "two"})).await;
    watch.look().await;
    assert_eq!(newest(), "two");
    assert_eq!(counted(&metrics, "malote_secret_reload_failures", "store"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_does_not_work_is_not_taken() {
    let bao = OpenBao::start().await;
    bao.write(&json!({"redis": "right", "admin": "an-admin-key-of-thirty-two-letters"}))
        .await;
    let config = settings(bao.directory(), &by_token(&bao), &bao.address());
    let secrets = config.secrets.held.clone();
    secrets.get(SecretName::Redis).expect("known");
    secrets.get(SecretName::AdminKey).expect("known");
    let (watch, metrics) = watch(&config);
    let mut watch = watch.with_probe(
        SecretName::Redis,
        std::sync::Arc::new(|secret| {
            Box::pin(async move {
                if secret.expose() == "wrong" {
                    Err("WRONGPASS".to_owned())
                } else {
                    Ok(())
                }
            })
        }),
    );
    bao.write(&json!({"redis": "wrong", "admin": "short"})).await;
    watch.look().await;
    assert_eq!(secrets.get(SecretName::Redis).expect("known").expose(), "right");
    assert_eq!(secrets.accepted(SecretName::AdminKey).expect("known").len(), 1);
    assert_eq!(counted(&metrics, "malote_secret_reload_failures", "redis"), 1);
    assert_eq!(counted(&metrics, "malote_secret_reload_failures", "admin"), 1);
    bao.write(&json!({"redis": "right too", "admin": "another-admin-key-of-some-letters"}))
        .await;
    watch.look().await;
    assert_eq!(
        secrets.get(SecretName::Redis).expect("known").expose(),
        "right too"
    );
    assert_eq!(secrets.accepted(SecretName::AdminKey).expect("known").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_its_store_refuses_to_start_and_says_why() {
    let mut bao = OpenBao::start().await;
    let address = bao.address();
    let wrong = format!("store_token_file = '{}'", bao.file("wrong", "no-such-token"));
    settings(bao.directory(), &wrong, &address);
    let said = serve(bao.directory()).await;
    assert!(said.contains(&address) && said.contains("403"), "{said}");
    assert!(!said.contains("no-such-token"), "{said}");
    settings(bao.directory(), &by_token(&bao), &address);
    bao.stop().await;
    let said = serve(bao.directory()).await;
    assert!(
        said.contains(&address) && said.contains("did not answer"),
        "{said}"
    );
    assert!(!said.contains(bao.root_token()), "{said}");
}

/// Starts a server that must refuse, and gives what it said.
async fn serve(directory: &Path) -> String {
    let ended = tokio::process::Command::new(env!("CARGO_BIN_EXE_malote"))
        .args(["serve", "--config"])
        .arg(directory.join("malote.toml"))
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ended = tokio::time::timeout(Duration::from_secs(30), ended).await;
    let ended = ended.expect("it ends by itself").expect("it runs");
    assert_eq!(ended.status.code(), Some(1));
    String::from_utf8_lossy(&ended.stderr).into_owned()
}
