//! Talking to a node's unix socket: one line out, text back.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Where the HTTP API has the acts on the cluster; the runtime API's line has the rest of the path.
const CLUSTER: &str = "/api/v1/cluster:";

/// Sends one line and gives the answer.
pub(super) async fn ask(socket: &Path, line: &str, limit: Duration) -> anyhow::Result<String> {
    let exchange = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(format!("{line}\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let shown = socket.display();
    timeout(limit, exchange)
        .await
        .with_context(|| format!("{shown} did not answer within {} s", limit.as_secs()))?
        .with_context(|| format!("cannot reach {shown}; is it a node's --cli-socket?"))
}

/// Acts on the cluster and gives what the node says. Errors: it refuses, in its own words.
pub(super) async fn act(
    socket: &Path,
    path: &str,
    body: Option<Value>,
    limit: Duration,
) -> anyhow::Result<Value> {
    let Some(verb) = path.strip_prefix(CLUSTER) else {
        bail!("the runtime API has no line for this; leave --cli-socket out");
    };
    let body = body.map_or_else(|| "{}".to_owned(), |body| body.to_string());
    let answer = ask(socket, &format!("cluster {verb} {}", word(&body)), limit).await?;
    match serde_json::from_str(&answer) {
        Ok(value) => Ok(value),
        Err(_) => bail!("{}", answer.trim().trim_end_matches('.')),
    }
}

/// One word of a line, whatever it holds.
fn word(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_whitespace() || c == ';' || c == '\\' {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_holds_anything() {
        assert_eq!(word(r#"{"a":"b c;\\d"}"#), r#"{"a":"b\ c\;\\\\d"}"#);
    }
}
