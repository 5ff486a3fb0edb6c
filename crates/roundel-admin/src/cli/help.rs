//! `help`, and what to say to a command that does not exist.

/// Every command with what it does, in the order of `help`.
const COMMANDS: [(&str, &str); 47] = [
    (
        "add server <bk>/<srv> <addr> [opts]",
        "add a server; it serves after its first passed check",
    ),
    (
        "clear counters [all]",
        "clear the greatest values in show stat, or everything",
    ),
    (
        "cluster <act> <json>",
        "join, leave, query, event, keys, as the HTTP API has them",
    ),
    (
        "del server <bk>/<srv>",
        "remove a server that was added, or the orders for one that is away",
    ),
    (
        "disable frontend <frontend>",
        "stop listening, until enabled or reloaded",
    ),
    ("disable health <bk>/<srv>", "disable health checks"),
    ("disable server <bk>/<srv>", "put a server in maintenance"),
    ("enable frontend <frontend>", "listen again"),
    ("enable health <bk>/<srv>", "enable health checks"),
    ("enable server <bk>/<srv>", "end maintenance or drain"),
    ("get weight <bk>/<srv>", "report a server's weight"),
    ("help [<command>]", "list matching or all commands"),
    ("join <addr>", "join the gossip at this address"),
    ("leave", "announce that this node leaves"),
    ("operator", "give up the right to act on this connection"),
    (
        "order <bk>/<srv> <what> [force]",
        "ready, drain, maint, weight <w>; spares the last server",
    ),
    ("prompt", "toggle interactive mode with prompt"),
    ("quit", "disconnect"),
    ("reload", "read the configuration again"),
    (
        "set maxconn frontend <frontend> <value>",
        "change a frontend's maxconn until the next reload",
    ),
    (
        "set maxconn server <bk>/<srv> <value>",
        "change a server's maxconn",
    ),
    (
        "set server <bk>/<srv> addr <a> [port <p>]",
        "move a static or added server",
    ),
    (
        "set server <bk>/<srv> check-port <port>",
        "check at another port",
    ),
    (
        "set server <bk>/<srv> health <health>",
        "up or down, until a check says something else",
    ),
    (
        "set server <bk>/<srv> state <state>",
        "ready, drain or maint",
    ),
    (
        "set server <bk>/<srv> weight <w>",
        "0 to 256, or a percentage of the initial weight",
    ),
    (
        "set severity-output [none|number|string]",
        "show how bad a reply is",
    ),
    (
        "set timeout cli <delay>",
        "how long this connection may be silent",
    ),
    ("set weight <bk>/<srv> <w>", "the same as set server weight"),
    ("show activity", "what the process does"),
    ("show backend", "list the backends"),
    ("show cli level", "what this connection may do"),
    ("show env [var]", "Roundel's environment variables"),
    (
        "show errors",
        "requests that never became whole, by frontend and reason",
    ),
    ("show events [<n>]", "the newest events"),
    (
        "show info [desc|json|typed]*",
        "report information about the running process",
    ),
    ("show members", "the members of the gossip cluster"),
    ("show servers conn [<backend>]", "connections to servers"),
    (
        "show servers state [<backend>]",
        "the servers' state, as a table",
    ),
    ("show sess [id]", "requests in flight, a line each"),
    ("show snapshot", "everything, as one line of JSON"),
    (
        "show stat [<iid|bk> <type> <sid>]",
        "report counters for each frontend, backend and server",
    ),
    (
        "show stat [desc|json|no-maint|typed|up]*",
        "the same, written or narrowed so",
    ),
    ("show version", "the version"),
    (
        "shutdown sessions server <bk>/<srv>",
        "end a server's requests and tunnels",
    ),
    ("user", "give up the right to act on this connection"),
    ("wait <delay>", "wait before the next command"),
];

/// `help`, or `help` and some words.
pub(super) fn help(words: &[&str]) -> String {
    let wanted = words.join(" ");
    let fits = |command: &str| command.contains(&wanted);
    let any = COMMANDS.iter().any(|(command, _)| fits(command));
    let title = "The following commands are valid at this level:";
    list(title, |command| !any || fits(command) || is_basic(command))
}

/// What to say to words that are no command.
pub(super) fn unknown(words: &[&str]) -> String {
    let near = |n: usize| {
        let wanted = words.get(..n)?;
        let fits = move |command: &str| {
            let mut own = command.split(' ');
            wanted.iter().all(|word| own.next() == Some(word))
        };
        let found = n > 0 && COMMANDS.iter().any(|(command, _)| fits(command));
        found.then_some(fits)
    };
    let title = "Unknown command, but maybe one of the following ones is a better match:";
    match near(2).map(|f| list(title, |c| f(c) || is_basic(c))) {
        Some(text) => text,
        None => match near(1) {
            Some(fits) => list(title, |command| fits(command) || is_basic(command)),
            None => list(
                "Unknown command. Please enter one of the following commands only:",
                |_| true,
            ),
        },
    }
}

/// HAProxy ends every list with these.
fn is_basic(command: &str) -> bool {
    matches!(command, "help [<command>]" | "prompt" | "quit")
}

fn list(title: &str, shown: impl Fn(&str) -> bool) -> String {
    let mut text = format!("{title}\n");
    let lines = COMMANDS.iter().filter(|(command, _)| shown(command));
    for (command, does) in lines {
        text += &format!("  {command:<39} : {does}\n");
    }
    text
}
