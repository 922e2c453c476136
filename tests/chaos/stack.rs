//! The servers of the suite's own stack: ended and started by `dev/stack`.

use anyhow::Context as _;
use malote::config::stack_variable;
use tokio::process::Command;

/// The stack that may be broken.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    instance: String,
}

impl Stack {
    /// Takes the instance that the environment names. The usual stack, which others use, is refused.
    pub(crate) fn of_environment() -> anyhow::Result<Self> {
        let instance = stack_variable("INSTANCE").filter(|name| !name.is_empty());
        let instance =
            instance.context("this breaks its servers, so it needs an instance of its own: make chaos")?;
        Ok(Self { instance })
    }

    /// Tells `dev/stack` to `kill`, `stop` or `start` a server.
    pub(crate) async fn tell(&self, what: &str, server: &str) -> anyhow::Result<()> {
        let told = Command::new("dev/stack")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["--instance", &self.instance, what, server])
            .output()
            .await
            .context("dev/stack")?;
        anyhow::ensure!(
            told.status.success(),
            "dev/stack {what} {server}: {}",
            String::from_utf8_lossy(&told.stderr)
        );
        Ok(())
    }
}
