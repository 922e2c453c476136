//! An OpenBao of a test's own, in memory, on loopback.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use malote::trial::{Client, eventually};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use uuid::Uuid;

/// How long it may take to serve.
const SERVES_WITHIN: Duration = Duration::from_secs(60);

/// A running store.
pub(crate) struct OpenBao {
    port: u16,
    token: String,
    directory: PathBuf,
    child: Option<Child>,
}

impl OpenBao {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        let probe = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = probe.local_addr().expect("an address").port();
        drop(probe);
        let directory = std::env::temp_dir().join(format!("malote-openbao-{}", Uuid::now_v7().simple()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let mut bao = Self {
            port,
            token: Uuid::now_v7().to_string(),
            directory,
            child: None,
        };
        bao.restart().await;
        bao
    }

    /// Starts it (again), empty.
    pub(crate) async fn restart(&mut self) {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/bao");
        let log = std::fs::File::create(self.directory.join("log")).expect("a log");
        let child = Command::new(&program)
            .args(["server", "-dev", "-dev-no-store-token"])
            .arg(format!("-dev-root-token-id={}", self.token))
            .arg(format!("-dev-listen-address=127.0.0.1:{}", self.port))
            .env("HOME", &self.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn();
        self.child =
            Some(child.unwrap_or_else(|error| panic!("{}: {error}; run `make openbao`", program.display())));
        eventually("the store serves", SERVES_WITHIN, || async {
            Ok(self.client().get("/v1/secret/config").await.ok())
        })
        .await
        .unwrap_or_else(|error| panic!("{error}; see {}", self.directory.join("log").display()));
    }

    /// Stops it at once.
    pub(crate) async fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.expect("killed");
        }
    }

    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn root_token(&self) -> &str {
        &self.token
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes a file that only this test reads, and gives its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    }

    fn client(&self) -> Client {
        Client::new(&format!("127.0.0.1:{}", self.port)).with_key(&self.token)
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        self.client().post(path, body).await.expect("the store answers")
    }

    /// Writes all secrets of the process.
    pub(crate) async fn write(&self, secrets: &Value) {
        self.post("/v1/secret/data/malote", &json!({ "data": secrets }))
            .await;
    }

    /// Makes an AppRole that may read our secrets and nothing else; gives its id and a secret id.
    pub(crate) async fn make_role(&self) -> (String, String) {
        self.post("/v1/sys/auth/approle", &json!({"type": "approle"}))
            .await;
        let policy = "path \"secret/data/malote\" { capabilities = [\"read\"] }";
        self.post("/v1/sys/policies/acl/malote", &json!({ "policy": policy }))
            .await;
        let role = json!({"token_policies": "malote", "token_ttl": "1h"});
        self.post("/v1/auth/approle/role/malote", &role).await;
        let id = self
            .client()
            .get("/v1/auth/approle/role/malote/role-id")
            .await
            .expect("an id");
        let secret = self
            .post("/v1/auth/approle/role/malote/secret-id", &json!({}))
            .await;
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        (text(&id["data"]["role_id"]), text(&secret["data"]["secret_id"]))
    }

    /// Ends every token that a role got by logging in.
    pub(crate) async fn end_all_tokens_of_roles(&self) {
        let path = "/v1/sys/leases/revoke-prefix/auth/approle/login";
        self.post(path, &json!({"sync": true})).await;
    }
}

impl Drop for OpenBao {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}
