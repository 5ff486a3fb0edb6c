//! The verbs that read or steer a running balancer.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use hyper::{Method, StatusCode};
use roundel_admin::status::Snapshot;
use roundel_model::Shown;
use serde_json::{Value, json};

use crate::cli::{
    EventsArgs, HealthcheckArgs, JoinArgs, MembersArgs, OperatorArgs, ReaderArgs, ReportArgs,
    ServerArgs, StatArgs, WeightArgs, WhyArgs,
};
use crate::client::{Credentials, Page};
use crate::screen::Screen;
use crate::{client, out};

pub(crate) mod cluster;
mod numbers;
mod report;
mod socket;
mod stat;
mod tables;
mod view;
mod why;

use view::View;

/// Where everything is.
const SNAPSHOT: &str = "/api/v1/snapshot";

/// Asks whether a running Roundel (or anything) is well. Errors: it is not.
pub(crate) async fn healthcheck(args: &HealthcheckArgs) -> anyhow::Result<()> {
    let page = Page {
        base: &args.url,
        ca_file: args.ca_file.as_deref(),
        credentials: None,
    };
    let answer = client::send(Method::GET, &page, "", None).await?;
    if !answer.status.is_success() {
        let text = String::from_utf8_lossy(&answer.body);
        bail!("{} {}", answer.status, text.trim());
    }
    Ok(())
}

/// Lists members as Serf does.
pub(crate) async fn members(args: &MembersArgs) -> anyhow::Result<()> {
    let mut snapshot = snapshot(&args.reader).await?;
    snapshot.members.retain(|member| {
        let status = args.status.as_deref();
        let tags = &args.tags;
        status.is_none_or(|wanted| wanted == member.status.as_str())
            && tags.iter().all(|(k, v)| member.tags.get(k) == Some(v))
    });
    if args.reader.json {
        return print_json(&tables::members_json(&snapshot.members));
    }
    if snapshot.gossip.is_none() {
        bail!("gossip is off in this balancer");
    }
    Ok(out::text(tables::members(&snapshot.members))?)
}

/// Lists events; goes on as they happen when asked to.
pub(crate) async fn events(args: &EventsArgs) -> anyhow::Result<()> {
    let mut newest = 0;
    let mut path = SNAPSHOT.to_owned();
    loop {
        let snapshot = tokio::select! {
            view = view(&args.reader, &path) => view?.snapshot,
            () = out::reader_gone(), if args.follow => return Ok(()),
        };
        for event in snapshot.events.iter().filter(|e| e.seq > newest) {
            if args.reader.json {
                out::json(serde_json::to_string(&**event)?)?;
            } else {
                out::line(tables::event(event))?;
            }
        }
        newest = snapshot.events.last().map_or(newest, |e| e.seq);
        if !args.follow {
            return Ok(());
        }
        path = next(&args.reader, snapshot.seq).await;
    }
}

/// Shows servers and numbers; goes on showing them when asked to.
pub(crate) async fn stat(args: &StatArgs) -> anyhow::Result<()> {
    if args.reader.json {
        return print_json(&snapshot(&args.reader).await?);
    }
    let mut path = SNAPSHOT.to_owned();
    loop {
        let view = view(&args.reader, &path).await?;
        let screen = Screen::find();
        let text = stat::page(&view, args.target.as_deref(), screen)?;
        if !args.watch {
            return Ok(out::text(text)?);
        }
        out::text(match screen.is_terminal {
            // From the top left, each line to its end, then all that is below.
            true => format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n")),
            false => text + "\n",
        })?;
        path = next(&args.reader, view.snapshot.seq).await;
    }
}

/// Tells how a server came to the state it is in.
pub(crate) async fn why(args: &WhyArgs) -> anyhow::Result<()> {
    let view = view(&args.operator.reader, SNAPSHOT).await?;
    Ok(out::text(why::server(&view, &args.what, Screen::find())?)?)
}

/// Writes down how things are, for whoever is asked to help. `configuration` is the text of the
/// effective one, without secrets.
pub(crate) async fn report(args: &ReportArgs, configuration: Option<String>) -> anyhow::Result<()> {
    let view = view(&args.reader, SNAPSHOT).await?;
    let text = report::markdown(&view, configuration.as_deref())?;
    let Some(file) = &args.output else {
        return Ok(out::text(text)?);
    };
    // It names hosts and addresses: for its writer alone, until that decides otherwise.
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let written = options
        .open(file)
        .and_then(|mut f| f.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write {}", file.display()))?;
    Ok(out::line(format_args!("{} is written", file.display()))?)
}

/// The path of the snapshot behind the one of `seq`, where that is waited for.
async fn next(args: &ReaderArgs, seq: u64) -> String {
    if args.cli_socket.is_some() {
        // A line waits for nothing; there is a snapshot a second.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    format!("{SNAPSHOT}?wait={seq}&timeout=5s")
}

/// Orders servers `ready`, `drain` or `maint`.
pub(crate) async fn state(args: &ServerArgs, verb: &str) -> anyhow::Result<()> {
    for (backend, server) in &args.servers {
        let path = format!("/api/v1/backends/{backend}/servers/{server}:{verb}");
        let line = order_line(&format!("{backend}/{server} {verb}"), args.force);
        let body = json!({ "force": args.force });
        act(&args.operator, &path, Some(body), Some(&line)).await?;
    }
    Ok(())
}

/// Gives a server another weight.
pub(crate) async fn weight(args: &WeightArgs) -> anyhow::Result<()> {
    let (backend, server) = &args.server;
    let path = format!("/api/v1/backends/{backend}/servers/{server}:weight");
    let line = order_line(
        &format!("{backend}/{server} weight {}", args.weight),
        args.force,
    );
    let body = json!({ "weight": args.weight.to_string(), "force": args.force });
    act(&args.operator, &path, Some(body), Some(&line)).await
}

/// The runtime API's line that, unlike HAProxy's own, spares the last server that serves.
fn order_line(order: &str, force: bool) -> String {
    format!("order {order}{}", if force { " force" } else { "" })
}

/// Makes the balancer join the gossip at these addresses.
pub(crate) async fn join(args: &JoinArgs) -> anyhow::Result<()> {
    let body = json!({ "addresses": args.addresses });
    act(&args.operator, "/api/v1/cluster:join", Some(body), None).await
}

/// Makes the balancer leave the gossip.
pub(crate) async fn leave(args: &OperatorArgs) -> anyhow::Result<()> {
    act(args, "/api/v1/cluster:leave", None, None).await
}

/// Acts through the unix socket when one is named, else through HTTP. `line` is the runtime API's
/// own for this act, if it has one.
async fn act(
    args: &OperatorArgs,
    path: &str,
    body: Option<Value>,
    line: Option<&str>,
) -> anyhow::Result<()> {
    if let (Some(socket), Some(line)) = (&args.reader.cli_socket, line) {
        return command_line(socket, line).await;
    }
    let value = post(args, path, body, client::LIMIT).await?;
    if args.reader.json {
        return print_json(&value);
    }
    if let Some(text) = value["text"].as_str() {
        out::line(text)?;
    }
    Ok(())
}

/// Acts through the unix socket or HTTP and gives what the node says. Errors: it refuses, or says
/// nothing.
async fn post(
    args: &OperatorArgs,
    path: &str,
    body: Option<Value>,
    limit: Duration,
) -> anyhow::Result<Value> {
    if let Some(socket) = &args.reader.cli_socket {
        return socket::act(socket, path, body, limit).await;
    }
    let credentials = match &args.admin_token_file {
        Some(file) => Some(Credentials::Token(secret(file)?)),
        None => args.reader.credentials()?,
    };
    let page = args.reader.page(credentials.as_ref());
    let body = body.map(|b| b.to_string());
    let answer = client::send_within(limit, Method::POST, &page, path, body).await?;
    let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if answer.status == StatusCode::UNAUTHORIZED {
        let page = &args.reader.stats;
        match &args.admin_token_file {
            Some(file) => bail!("{page} does not know the token in {}", file.display()),
            None => bail!(
                "{page} wants the administration token: name its file by --admin-token-file, as \
                 admin_token_file does there"
            ),
        }
    }
    if !answer.status.is_success() {
        bail!("{}", refusal(&answer, &value));
    }
    Ok(value)
}

/// Why an act was refused, in the balancer's words, which name the cure.
fn refusal(answer: &client::Answer, problem: &Value) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    // What is no problem document is one line at most.
    let text = text.lines().next().filter(|_| problem.is_null());
    let detail = problem["detail"].as_str().or(text).unwrap_or_default();
    let detail = match detail.trim_end_matches('.') {
        "" => "it was refused",
        detail => detail,
    };
    format!("{} ({})", Shown(detail), answer.status)
}

/// Sends one line to the runtime API; an answer that says nothing is a success.
async fn command_line(socket: &Path, line: &str) -> anyhow::Result<()> {
    match socket::ask(socket, line, client::LIMIT).await?.trim() {
        "" => Ok(()),
        text => bail!("{text}"),
    }
}

async fn snapshot(args: &ReaderArgs) -> anyhow::Result<Snapshot> {
    Ok(view(args, SNAPSHOT).await?.snapshot)
}

async fn view(args: &ReaderArgs, path: &str) -> anyhow::Result<View> {
    if let Some(path) = &args.cli_socket {
        let text = socket::ask(path, "show snapshot", client::LIMIT).await?;
        return View::parse(text.as_bytes())
            .with_context(|| format!("{} is not a Roundel of this version", path.display()));
    }
    let body = read(args, path).await?;
    View::parse(&body).with_context(|| format!("{} is not a Roundel of this version", args.stats))
}

/// Reads a path of the page.
async fn read(args: &ReaderArgs, path: &str) -> anyhow::Result<Bytes> {
    let credentials = args.credentials()?;
    let page = args.page(credentials.as_ref());
    let answer = client::send(Method::GET, &page, path, None).await?;
    if answer.status == StatusCode::UNAUTHORIZED {
        let page = &args.stats;
        match credentials {
            Some(Credentials::Token(_)) => bail!("{page} does not know this token"),
            Some(Credentials::Password { .. }) => {
                bail!("{page} does not know this name and password")
            }
            None => bail!(
                "{page} answers to those only who sign in: name the file of a token by \
                 --read-token-file, that of its read_token_file or of its admin_token_file; where \
                 it reads \"basic\", --user and --password-file"
            ),
        }
    }
    if !answer.status.is_success() {
        let problem = serde_json::from_slice(&answer.body).unwrap_or_default();
        bail!("{}: {}", args.stats, refusal(&answer, &problem));
    }
    Ok(answer.body)
}

impl ReaderArgs {
    fn page<'a>(&'a self, credentials: Option<&'a Credentials>) -> Page<'a> {
        Page {
            base: &self.stats,
            ca_file: self.ca_file.as_deref(),
            credentials,
        }
    }

    /// What tells the page who asks. Errors: a file cannot be read.
    fn credentials(&self) -> anyhow::Result<Option<Credentials>> {
        if let (Some(user), Some(file)) = (&self.user, &self.password_file) {
            let (user, password) = (user.clone(), secret(file)?);
            return Ok(Some(Credentials::Password { user, password }));
        }
        let token = self.read_token_file.as_deref().map(secret).transpose()?;
        Ok(token.map(Credentials::Token))
    }
}

/// Reads a token or a password. Errors: its file cannot be read.
fn secret(file: &Path) -> anyhow::Result<String> {
    let text = roundel_files::read_text(file, roundel_files::LARGEST);
    let text = text.with_context(|| format!("cannot read {}", file.display()))?;
    Ok(text.trim().to_owned())
}

fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    Ok(out::json(serde_json::to_string_pretty(value)?)?)
}
