//! The broker as its operator sees it: connections and queues, by the management plugin of the stack.

use std::fmt::Write as _;

use malote::config::{Config, Secret, stack_variable};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Reads a list, such as `connections` or `queues`.
pub(crate) async fn list(config: &Config, what: &str) -> anyhow::Result<Vec<Value>> {
    let address = stack_variable("MANAGEMENT")
        .ok_or_else(|| anyhow::anyhow!("MALOTE_STACK_MANAGEMENT is not set: eval \"$(dev/stack env)\""))?;
    let password = Secret::read(&config.broker.password_file, "broker.password_file")?;
    let who = base64(format!("{}:{}", config.broker.user, password.expose()).as_bytes());
    let mut stream = TcpStream::connect(&address).await?;
    let request =
        format!("GET /api/{what} HTTP/1.0\r\nHost: {address}\r\nAuthorization: Basic {who}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8(answer)?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).map_err(|error| anyhow::anyhow!("{error} in {answer}"))
}

/// Base64 with padding, as HTTP's basic authentication wants it.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let whole = three
            .iter()
            .chain([0, 0].iter())
            .take(3)
            .fold(0_usize, |whole, byte| whole << 8 | usize::from(*byte));
        for place in 0..4 {
            let digit = char::from(DIGITS[whole >> (18 - 6 * place) & 63]);
            let _ = text.write_char(if place <= three.len() { digit } else { '=' });
        }
    }
    text
}
