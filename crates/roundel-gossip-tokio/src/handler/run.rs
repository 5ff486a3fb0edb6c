//! One run of one script.

use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;

use roundel_gossip::Member;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::{Happening, UserEvent};
use crate::Handle;

/// Bytes of output that are kept; the rest is read and dropped. Serf's figure.
const OUTPUT: usize = 8 << 10;

/// A script that runs longer is complained about; Serf's figure.
const SLOW: Duration = Duration::from_secs(1);

/// Runs a script to its end, or kills it after `limit`. What it prints is logged, and answers a
/// query unless the script failed.
pub(super) async fn run(handle: Handle, script: &str, happening: &Happening, limit: Duration) {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(script);
    command.envs(variables(&handle, happening));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            tracing::warn!(target: "event_handler", script, %error, "cannot run the event handler");
            return;
        }
    };
    let begun = std::time::Instant::now();
    let group = child.id();
    let input = input(happening);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let work = async {
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A script need not read.
                let _ = stdin.write_all(&input).await;
            }
        };
        let ((), out, err) = tokio::join!(feed, head(stdout), head(stderr));
        (out, err, child.wait().await)
    };
    let Ok((out, err, status)) = tokio::time::timeout(limit, work).await else {
        kill_group(group);
        tracing::warn!(
            script,
            ?limit,
            "the event handler took too long and was killed"
        );
        return;
    };
    let took = begun.elapsed();
    if took > SLOW {
        tracing::warn!(target: "event_handler", script, ?took, "the event handler is slow");
    }
    match status {
        Ok(status) if !status.success() => {
            tracing::warn!(target: "event_handler", script, %status, output = shown(&err), "the event handler failed");
            return;
        }
        // Another may have reaped it.
        Ok(_) | Err(_) => {
            tracing::info!(target: "event_handler", script, output = shown(&out), "the event handler ran");
            if !err.is_empty() {
                tracing::info!(target: "event_handler", script, output = shown(&err), "the event handler complained");
            }
        }
    }
    if let Happening::Query { id, .. } = happening
        && !out.is_empty()
        && let Err(error) = handle.respond(*id, out).await
    {
        tracing::warn!(target: "event_handler", script, %error, "the event handler's answer cannot be sent");
    }
}

/// Ends a script together with what it started.
fn kill_group(group: Option<u32>) {
    let group = group.and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(group) = group {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

/// Reads all and keeps the beginning.
async fn head(from: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(mut from) = from else {
        return kept;
    };
    let mut buffer = [0; 4096];
    while let Ok(len @ 1..) = from.read(&mut buffer).await {
        let room = OUTPUT - kept.len();
        kept.extend_from_slice(&buffer[..len.min(room)]);
    }
    kept
}

fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim_end().chars().take(1024).collect()
}

/// The environment of a script, each variable by Serf's name and by ours.
pub(super) fn variables(handle: &Handle, happening: &Happening) -> Vec<(String, String)> {
    let members = handle.members();
    let own = members
        .borrow()
        .iter()
        .find(|m| *m.name == *handle.name())
        .cloned();
    let tags = own.map(|own| own.tags).unwrap_or_default();
    let mut list = vec![
        ("EVENT".to_owned(), happening.kind().0.to_owned()),
        ("SELF_NAME".to_owned(), handle.name().to_string()),
        (
            "SELF_ROLE".to_owned(),
            tags.get("role").cloned().unwrap_or_default(),
        ),
    ];
    for (name, value) in &tags {
        list.push((format!("TAG_{}", variable(name)), value.clone()));
    }
    match happening {
        Happening::Members(..) => {}
        Happening::User(event) => {
            list.push(("USER_EVENT".to_owned(), event.name.clone()));
            list.push(("USER_LTIME".to_owned(), event.time.to_string()));
        }
        Happening::Query { name, time, .. } => {
            list.push(("QUERY_NAME".to_owned(), name.clone()));
            list.push(("QUERY_LTIME".to_owned(), time.to_string()));
        }
    }
    // A variable cannot hold NUL; names come from the network.
    list.retain(|(_, value)| !value.contains('\0'));
    let both = |(name, value): &(String, String)| {
        ["SERF", "ROUNDEL"].map(|prefix| (format!("{prefix}_{name}"), value.clone()))
    };
    list.iter().flat_map(both).collect()
}

/// A tag's name as part of a variable's.
fn variable(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let upper = name.to_uppercase();
    let chars = upper.chars();
    chars.map(|c| if allowed(c) { c } else { '_' }).collect()
}

/// What a script reads: a line per member, or the payload.
pub(super) fn input(happening: &Happening) -> Vec<u8> {
    match happening {
        Happening::Members(_, members) => {
            let mut text = String::new();
            for member in members {
                line(&mut text, member);
            }
            text.into_bytes()
        }
        Happening::User(UserEvent { payload, .. }) | Happening::Query { payload, .. } => {
            let mut payload = payload.clone();
            if payload.last().is_some_and(|last| *last != b'\n') {
                payload.push(b'\n');
            }
            payload
        }
    }
}

/// Name, address, role, tags, separated by tabs.
fn line(text: &mut String, member: &Member) {
    let tags: Vec<String> = member
        .tags
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    let role = member.tags.get("role").map_or("", String::as_str);
    // Writing to text does not fail.
    let _ = writeln!(
        text,
        "{}\t{}\t{}\t{}",
        clean(&member.name),
        member.address.ip(),
        clean(role),
        clean(&tags.join(","))
    );
}

fn clean(text: &str) -> String {
    text.replace('\t', "\\t").replace('\n', "\\n")
}
