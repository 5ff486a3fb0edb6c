//! Members, listeners and the process.

use maud::{Markup, html};

use super::format::{bytes, count, plural, span};
use super::look::Look;
use super::{Part, Scene};
use crate::status::{Frontend, Member, MemberStatus, Sharing, Snapshot};

/// Members listed at most.
const MEMBERS: usize = 200;

/// The gossip's view of the cluster.
pub(super) fn part(scene: &Scene<'_>) -> Part {
    let snapshot = &*scene.moment.snapshot;
    let markup = html! {
        section id="cluster" class="panel" aria-labelledby="h-cluster" {
            h2 id="h-cluster" { "Cluster" }
            @match &snapshot.gossip {
                None => p.empty { "Gossip is off: servers come from the other sources only." },
                Some(gossip) => {
                    p.sub { (summary(snapshot)) " · listening on " code { (gossip.listen) }
                        @if gossip.encrypted { " · encrypted" }
                        @if gossip.health_score > 0 { " · health score " (gossip.health_score) } }
                    @if !gossip.encrypted {
                        p.sub { strong { "Not encrypted:" } " whoever reaches the gossip port can join \
                            and bring servers. A key closes it (" code { "roundel keygen" } ")." }
                    }
                    @if !gossip.address.is_empty() {
                        p.sub { "Other members reach this node at " code { (gossip.address) }
                            " (" (gossip.address_reason) ")" }
                    }
                    @if !gossip.seed_trouble.is_empty() {
                        p.sub { strong { "No seed has answered." } " Tried " (gossip.seed_trouble) }
                    }
                    @if gossip.udp_blocked {
                        p.sub { strong { "UDP does not get through" } " to some member, though TCP \
                            does: open the gossip port for both." }
                    }
                    @if let Some(name) = &gossip.taken_name {
                        p.sub { "The name " code { (name) } " belongs to another member: this node \
                            goes on under a name with a suffix." }
                    }
                    @if let Some(sharing) = &gossip.sharing {
                        p.sub { (shares(sharing)) }
                    }
                    (table(&snapshot.members))
                }
            }
        }
    };
    Part::leaf("cluster", markup)
}

/// With whom this balancer has its certificates and keys of tickets in common.
fn shares(sharing: &Sharing) -> String {
    let refused = match sharing.refused_total {
        0 => String::new(),
        n => format!(" · {n} {} refused", plural(n as usize, "stream")),
    };
    match &sharing.balancers[..] {
        [] => format!("Shares certificates with no other balancer yet{refused}"),
        names => format!("Shares certificates with {}{refused}", names.join(" ")),
    }
}

fn summary(snapshot: &Snapshot) -> String {
    let all = &snapshot.members;
    let in_status = |status| all.iter().filter(|m| m.status == status).count();
    let alive = in_status(MemberStatus::Alive);
    let mut text = format!("{alive} {} alive", plural(alive, "member"));
    for (status, word) in [
        (MemberStatus::Leaving, "leaving"),
        (MemberStatus::Failed, "failed"),
        (MemberStatus::Left, "left"),
    ] {
        let n = in_status(status);
        if n > 0 {
            text += &format!(", {n} {word}");
        }
    }
    text
}

fn table(members: &[Member]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Members" {
            table.members {
                caption.hidden { "Members of the gossip cluster" }
                thead { tr {
                    th scope="col" { "State" } th scope="col" { "Member" } th scope="col" { "Role" }
                    th scope="col" { "Address" } th.num scope="col" { "RTT" } th.num scope="col" { "Incarnation" } th.num scope="col" { "For" }
                } }
                tbody { @for member in members.iter().take(MEMBERS) { (row(member)) } }
            }
        }
        @if members.len() > MEMBERS { p.sub { a href="/api/v1/members" { "all " (members.len()) " members" } } }
    }
}

fn row(member: &Member) -> Markup {
    let look = Look::of_member(member);
    let tags: Vec<String> = member
        .tags
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    html! {
        tr class={ "row c-" (look.class) } {
            td.state { (look.mark()) }
            th scope="row" title=(tags.join(" ")) { (member.name) @if member.me { " " span.me { "this one" } } }
            td { (member.role()) }
            td.address { (member.address) }
            td.num { (member.rtt_us.map_or("–".into(), |us| super::format::latency(Some(us as f64 / 1e6)))) }
            td.num { (member.incarnation) }
            td.num { (span(member.since_seconds)) }
        }
    }
}

/// What is rarely asked for.
pub(super) fn process(scene: &Scene<'_>) -> Part {
    let snapshot = &*scene.moment.snapshot;
    let p = &snapshot.process;
    let markup = html! {
        details id="process" class="panel" {
            summary { "Listeners, configuration and process" }
            div.scroll {
                table {
                    caption.hidden { "Frontends" }
                    thead { tr { th scope="col" { "Frontend" } th scope="col" { "Listens on" } th scope="col" { "Backend" } th.num scope="col" { "Connections" } th.num scope="col" { "Accepted" } th.num scope="col" { "Requests" } th.num scope="col" { "Bad requests" } th.num scope="col" { "In" } th.num scope="col" { "Out" } } }
                    tbody { @for f in &snapshot.frontends { tr {
                        th scope="row" { (f.name) } td { (f.listen.join(" ")) } td { (f.default_backend) }
                        td.num { (connections(f)) } td.num { (count(f.accepted())) } td.num { (count(f.requests_total)) }
                        td.num { (count(f.request_errors())) } td.num { (bytes(f.bytes_in_total)) } td.num { (bytes(f.bytes_out_total)) }
                    } } }
                }
            }
            dl {
                (fact("Up for", &span(snapshot.uptime_seconds as u64)))
                (fact("Process", &format!("{} with {} {}", p.pid, p.threads, plural(p.threads as usize, "worker"))))
                (fact("Memory", &bytes(p.resident_bytes)))
                (fact("Processor time", &format!("{:.1}\u{202f}s", p.cpu_seconds_total)))
                (fact("Connections", &format!("at most {}", count(p.max_connections))))
                (fact("Descriptors", &format!("{} of {}", count(p.open_fds), count(p.max_fds))))
                (fact("Configuration", if snapshot.config.file.is_empty() { "built-in defaults and flags" } else { &snapshot.config.file }))
                (fact("Reloads", &format!("{} taken over, {} refused", snapshot.config.reloads_ok_total, snapshot.config.reloads_failed_total)))
                (fact("Log lines dropped", &count(snapshot.log_lines_dropped_total)))
            }
        }
    };
    Part::leaf("process", markup)
}

/// Open connections with their limit, and a word when no more are accepted.
fn connections(f: &Frontend) -> String {
    let open = count(f.connections);
    match f.connections_limit {
        Some(limit) if f.is_full => format!("{open} of {}, full", count(limit)),
        Some(limit) => format!("{open} of {}", count(limit)),
        None => open,
    }
}

fn fact(word: &str, text: &str) -> Markup {
    html! { dt { (word) } dd { (text) } }
}
