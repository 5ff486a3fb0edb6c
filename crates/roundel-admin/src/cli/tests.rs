use roundel_model::{AdminState, Name};

use super::*;
use crate::Config;
use crate::command::{Change, Command, CommandError, Outcome};
use crate::fixture::{self, Rig, rig};
use crate::status::Snapshot;

fn states_rig() -> Rig {
    rig(Config::default(), fixture::every_state(9))
}

/// Starts a listener of its own and returns a connection to it.
async fn connect(admin: &Admin, level: Level) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve_tcp(
        admin.clone(),
        listener,
        level,
        std::future::pending(),
    ));
    TcpStream::connect(address).await.unwrap()
}

/// Sends, closes the sending side, and reads all that comes.
async fn ask(admin: &Admin, level: Level, line: &str) -> String {
    let mut stream = connect(admin, level).await;
    stream.write_all(line.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn user(rig: &Rig, line: &str) -> String {
    ask(&rig.admin, Level::User, line).await
}

#[tokio::test]
async fn one_line_may_hold_several_commands_and_each_reply_ends_with_an_empty_line() {
    let rig = states_rig();
    assert_eq!(user(&rig, "show version\n").await, "2.6.0-roundel0.1.0\n\n");
    assert_eq!(user(&rig, "show version").await, "2.6.0-roundel0.1.0\n\n");
    let both = user(&rig, "show version; show backend\n").await;
    assert_eq!(both, "2.6.0-roundel0.1.0\n\n# name\nnodes\n\n");
    assert_eq!(
        user(&rig, "show version\nshow cli level\n").await,
        "2.6.0-roundel0.1.0\n\nuser\n\n"
    );
}

#[tokio::test]
async fn the_connection_closes_after_one_line_unless_prompt_was_given() {
    let rig = states_rig();
    let mut stream = connect(&rig.admin, Level::User).await;
    stream.write_all(b"show version\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "2.6.0-roundel0.1.0\n\n");

    let mut stream = connect(&rig.admin, Level::User).await;
    let mut talk = async |line: &str| {
        stream.write_all(line.as_bytes()).await.unwrap();
        let mut got = String::new();
        while !got.ends_with("> ") {
            let mut bytes = [0; 4096];
            let n = stream.read(&mut bytes).await.unwrap();
            assert!(n > 0, "closed after {got:?}");
            got += std::str::from_utf8(&bytes[..n]).unwrap();
        }
        got
    };
    assert_eq!(talk("prompt\n").await, "\n> ");
    assert_eq!(talk("set timeout cli 60\n").await, "\n> ");
    assert_eq!(talk("show version\n").await, "2.6.0-roundel0.1.0\n\n> ");
    assert_eq!(talk("\n").await, "\n> ");
    stream.write_all(b"quit\n").await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "");
}

#[tokio::test]
async fn statistics_are_the_csv_and_can_be_narrowed() {
    let rig = states_rig();
    let all = user(&rig, "show stat\n").await;
    assert!(all.starts_with("# pxname,svname,") && all.ends_with(",\n\n"));
    let servers = user(&rig, "show stat -1 4 -1\n").await;
    assert_eq!(
        servers.trim_end().lines().count(),
        10,
        "what left has no row"
    );
    let typed = user(&rig, "show stat typed\n").await;
    assert!(typed.contains(".0.pxname.1:KNS:str:nodes\n"), "{typed}");
    assert!(
        typed.lines().any(|l| l.contains(".stot.1:MCP:u64:")),
        "{typed}"
    );
    let servers = user(&rig, "show stat -1 4 -1 json\n").await;
    let servers: serde_json::Value = serde_json::from_str(&servers).unwrap();
    assert_eq!(servers.as_array().map(Vec::len), Some(9));
    assert_eq!(servers[0][0]["objType"], "Server");
    assert_eq!(servers[0][0]["value"]["value"], "nodes");
    let info = user(&rig, "show info\n").await;
    for line in [
        "Name: HAProxy",
        "Version: 2.6.0-roundel0.1.0",
        "Roundel_version: 0.1.0",
        "Hard_maxconn: 0",
        "SslRateLimit: 0",
        "MaxSslRate: 0",
        "CompressBpsIn: 0",
        "description: Roundel 0.1.0",
        "Pid: 4242",
        "Uptime: 0d 0h00m09s",
        "CurrConns: 17",
        "node: lab-ha-1",
        "Stopping: 0",
        "Maxpipes: 256",
        "PipesUsed: 3",
        "PipesFree: 5",
        "TotalSplicdedBytesOut: 1000009",
    ] {
        assert!(info.lines().any(|l| l == line), "{line}\n{info}");
    }
    assert!(
        info.lines()
            .all(|l| l.is_empty() || l.split_once(": ").is_some_and(|(_, v)| !v.is_empty()))
    );
}

#[tokio::test]
async fn handshakes_are_shown_in_haproxys_keys() {
    let mut rig = rig(Config::default(), Snapshot::default());
    rig.admin = crate::Admin::lived((0..20).map(fixture::secured), rig.admin);
    let info = user(&rig, "show info\n").await;
    for line in [
        "CurrSslConns: 9",
        "CumSslConns: 81",
        "SslRate: 4",
        "MaxSslRate: 4",
        "SslFrontendKeyRate: 1",
        "SslFrontendMaxKeyRate: 1",
        "SslFrontendSessionReuse_pct: 75",
    ] {
        assert!(info.lines().any(|l| l == line), "{line}\n{info}");
    }
}

#[tokio::test]
async fn servers_state_has_twenty_five_columns() {
    let rig = states_rig();
    let text = user(&rig, "show servers state nodes\n").await;
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("1"));
    let head = lines.next().unwrap().strip_prefix("# ").unwrap();
    assert_eq!(head.split(' ').count(), 25);
    let row = |name: &str| {
        let row = text
            .lines()
            .find(|l| l.split(' ').nth(3) == Some(name))
            .unwrap();
        let cells: Vec<_> = row.split(' ').map(str::to_owned).collect();
        assert_eq!(cells.len(), 25);
        cells
    };
    assert_eq!(row("webapp-2")[4..8], ["10.0.3.5", "2", "0", "1"]);
    assert_eq!(row("webapp-5")[5..7], ["2", "8"]);
    assert_eq!(row("webapp-7")[5..7], ["0", "1"]);
    assert_eq!(row("webapp-8")[10..13], ["8", "2", "0"]);
    assert_eq!(row("webapp-2")[18], "3000");
    assert_eq!((&*row("webapp-2")[13], &*row("webapp-2")[21]), ("6", "0"));
    assert_eq!((&*row("webapp-3")[13], &*row("webapp-3")[21]), ("2", "81"));
    assert_eq!(
        user(&rig, "show servers state x\n").await,
        "Can't find backend.\n\n"
    );
}

#[tokio::test]
async fn errors_are_worded_as_scripts_expect() {
    let rig = states_rig();
    let cases = [
        ("set server nodes/x state drain", "No such server.\n\n"),
        ("set server x/webapp-1 state drain", "No such backend.\n\n"),
        (
            "set server webapp-1 state drain",
            "Require 'backend/server'.\n\n",
        ),
        (
            "set server nodes/webapp-1 state fly",
            "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n\n",
        ),
        (
            "set server nodes/webapp-1 weight 300",
            "Absolute weight can only be between 0 and 256 inclusive.\n\n",
        ),
        (
            "set weight nodes/webapp-1 heavy",
            "Empty weight string empty or preceded by garbage\n",
        ),
        (
            "set weight nodes/webapp-1",
            "Require <weight> or <weight%>.\n\n",
        ),
        (
            "set weight nodes/webapp-1 -1",
            "Absolute weight can only be between 0 and 256 inclusive.\n\n",
        ),
        (
            "set weight nodes/webapp-1 -5%",
            "Relative weight must be positive.\n\n",
        ),
        (
            "set weight nodes/webapp-1 5x",
            "Trailing garbage in weight string\n",
        ),
        (
            "set server nodes/webapp-1 state",
            "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n\n",
        ),
        ("set server nodes/left state ready", "No such server.\n\n"),
        ("disable server", "Require 'backend/server'.\n\n"),
        ("disable server nodes/x y", "No such server.\n\n"),
        ("enable frontend x", "No such frontend.\n\n"),
        (
            "set maxconn server nodes/webapp-1",
            "Require <maxconn>.\n\n",
        ),
        ("set maxconn frontend x 1", "No such frontend.\n\n"),
        ("add server x/y 10.0.0.1:1", "No such backend.\n"),
        (
            "add server nodes/y",
            "'server' expects <name> and <addr>[:<port>] as arguments.\n\n",
        ),
        (
            "add server nodes/y 10.0.0.1:1 foo",
            "unknown keyword 'foo'\n\n",
        ),
        ("del server nodes/x", "No such server.\n"),
    ];
    for (line, expected) in cases {
        assert_eq!(
            ask(&rig.admin, Level::Admin, line).await,
            expected,
            "{line}"
        );
        assert_eq!(user(&rig, line).await, "Permission denied\n\n", "{line}");
    }
    assert_eq!(
        user(&rig, "get weight nodes/webapp-1").await,
        "1 (initial 1)\n\n"
    );
    let unknown = user(&rig, "frobnicate").await;
    assert!(
        unknown.starts_with("Unknown command. Please enter one of the following commands only:\n")
    );
    let near = user(&rig, "show nothing").await;
    assert!(
        near.starts_with(
            "Unknown command, but maybe one of the following ones is a better match:\n"
        )
    );
    assert!(near.contains("show stat") && !near.contains("reload"));
}

#[tokio::test]
async fn acts_on_the_socket_reach_the_writer() {
    let mut rig = states_rig();
    let dir = tempdir();
    let path = dir.join("admin.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(serve_unix(
        rig.admin.clone(),
        listener,
        Level::Admin,
        std::future::pending(),
    ));
    let (backend, server) = (Name::new("nodes").unwrap(), Name::new("webapp-2").unwrap());
    let set = |state, force| Command::SetState {
        backend: backend.clone(),
        server: server.clone(),
        state,
        force,
    };
    let weight = |text: &str| Command::SetWeight {
        backend: backend.clone(),
        server: server.clone(),
        weight: text.parse().unwrap(),
        force: true,
    };
    let change = |change| Command::Change {
        backend: backend.clone(),
        server: server.clone(),
        change,
    };
    let cases = [
        (
            "set server nodes/webapp-2 state drain",
            set(AdminState::Drain, true),
        ),
        (
            "disable server nodes/webapp-2",
            set(AdminState::Maint, true),
        ),
        ("enable server nodes/webapp-2", set(AdminState::Ready, true)),
        ("set weight nodes/webapp-2 50%", weight("50%")),
        ("set server nodes/webapp-2 weight 7", weight("7")),
        ("set server nodes/webapp-2 weight 0", weight("0")),
        (
            "disable server nodes/webapp-2 x",
            set(AdminState::Maint, true),
        ),
        ("order nodes/webapp-2 maint", set(AdminState::Maint, false)),
        (
            "order nodes/webapp-2 maint force",
            set(AdminState::Maint, true),
        ),
        (
            "set maxconn server nodes/webapp-2 7",
            change(Change::Maxconn(7)),
        ),
        (
            "disable health nodes/webapp-2",
            change(Change::Checks(false)),
        ),
        (
            "set server nodes/webapp-2 health up",
            change(Change::Health(true)),
        ),
        (
            "set server nodes/webapp-2 check-port 81",
            change(Change::CheckPort(81)),
        ),
    ];
    for (line, expected) in cases {
        let talk = async {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            stream.write_all(line.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let obey = async {
            let order = rig.orders.recv().await.unwrap();
            assert_eq!(order.principal, Principal("cli socket".into()));
            order.reply.send(Ok(Outcome::default())).unwrap();
            order.command
        };
        let (answer, command) = tokio::join!(talk, obey);
        assert_eq!((answer.as_str(), command), ("\n", expected), "{line}");
    }
    std::fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn outcomes_and_refusals_are_told() {
    let mut rig = states_rig();
    let admin = rig.admin.clone();
    let add = ask(
        &admin,
        Level::Admin,
        "add server nodes/w 10.0.0.9:80 check inter 2s fall 3 rise 2 maxconn 5 backup weight 3\n",
    );
    let (text, order) = tokio::join!(add, async {
        let order = rig.orders.recv().await.unwrap();
        order.reply.send(Ok(Outcome::default())).unwrap();
        order.command
    });
    assert_eq!(text, "New server registered.\n\n");
    let Command::AddServer {
        weight,
        backup,
        maxconn,
        disabled,
        passed_over,
        ..
    } = order
    else {
        panic!("{order:?}");
    };
    assert_eq!(
        (weight.get(), backup, maxconn, disabled),
        (3, true, Some(5), false)
    );
    assert_eq!(passed_over, ["inter 2s", "fall 3", "rise 2"]);
    let del = ask(&admin, Level::Admin, "del server nodes/webapp-1\n");
    let (text, ()) = tokio::join!(del, async {
        let order = rig.orders.recv().await.unwrap();
        let text = "Only servers in maintenance mode can be deleted.".to_owned();
        order.reply.send(Err(CommandError::Refused(text))).unwrap();
    });
    assert_eq!(text, "Only servers in maintenance mode can be deleted.\n");
    drop(rig.orders);
    let text = ask(&admin, Level::Admin, "reload\n").await;
    assert_eq!(text, "Roundel is shutting down.\n\n");
}

#[tokio::test]
async fn severities_are_shown_when_asked_for() {
    let rig = states_rig();
    let ask = async |line: &str| ask(&rig.admin, Level::Admin, line).await;
    let number = ask("set severity-output number;set weight nodes/zz 1").await;
    assert_eq!(number, "\n[3]: No such server.\n\n");
    let word = ask("set severity-output string;set weight nodes/zz 1").await;
    assert_eq!(word, "\n[err]: No such server.\n\n");
    let table = ask("set severity-output number;show stat").await;
    assert!(table.starts_with("\n# pxname,"), "{table}");
    let value = ask("set severity-output number;get weight nodes/webapp-1").await;
    assert_eq!(value, "\n1 (initial 1)\n\n");
    let wrong = ask("set severity-output loud").await;
    assert_eq!(
        wrong,
        "one of 'none', 'number', 'string' is a required argument\n\n"
    );
}

#[tokio::test]
async fn info_has_haproxys_forms() {
    let rig = states_rig();
    let typed = user(&rig, "show info typed\n").await;
    for line in [
        "0.Name.1:POS:str:HAProxy",
        "6.Pid.1:SGP:u32:4242",
        "48.Run_queue.1:MGP:u32:0",
    ] {
        assert!(typed.lines().any(|l| l == line), "{line}\n{typed}");
    }
    let json = user(&rig, "show info json\n").await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["tags"]["origin"], "Product");
    assert_eq!(json[0]["value"]["value"], "HAProxy");
    let desc = user(&rig, "show info desc\n").await;
    assert!(
        desc.starts_with("Name: HAProxy:\"Product name\"\n"),
        "{desc}"
    );
}

#[tokio::test]
async fn statistics_of_a_proxy_by_name() {
    let rig = states_rig();
    let own = user(&rig, "show stat nodes 4 -1\n").await;
    assert_eq!(own.trim_end().lines().count(), 10);
    assert_eq!(user(&rig, "show stat x y z\n").await, "No such proxy.\n\n");
    let all = user(&rig, "show stat\n").await;
    assert_eq!(user(&rig, "show stat foo\n").await, all);
}

#[tokio::test]
async fn an_endless_line_ends_the_connection() {
    let rig = states_rig();
    let mut stream = connect(&rig.admin, Level::User).await;
    let flood = vec![b'a'; 64 * 1024];
    // The other side may close before all is written.
    let _ = stream.write_all(&flood).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.is_empty());
}

#[tokio::test]
async fn hostile_names_stay_on_their_line() {
    let rig = rig(Config::default(), fixture::hostile());
    let members = user(&rig, "show members\n").await;
    assert_eq!(members.lines().count(), 3);
    assert_eq!(user(&rig, "show servers state\n").await.lines().count(), 4);
    for what in [
        "members",
        "servers state",
        "events 5",
        "snapshot",
        "stat",
        "info",
    ] {
        let told = user(&rig, &format!("show {what}\n")).await;
        let hidden = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!told.contains(hidden), "{what}: {told:?}");
    }
}

#[test]
fn lines_split_at_semicolons_and_spaces() {
    assert_eq!(commands("a  b;c"), [vec!["a", "b"], vec!["c"]]);
    assert_eq!(commands("a\\;b c\\ d;"), [vec!["a;b", "c d"]]);
    assert_eq!(commands(""), [Vec::<String>::new()]);
}

fn tempdir() -> std::path::PathBuf {
    let dir = std::env::temp_dir().join(format!("roundel-cli-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

#[tokio::test]
async fn an_act_is_logged_in_words_that_do_the_same() {
    let rig = states_rig();
    let snapshot = &rig.admin.moment().snapshot;
    let read = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        match acts::parse(&words, snapshot) {
            Some(Ok(act)) => act.command,
            Some(Err(text)) => panic!("{line}: {text}"),
            None => panic!("{line}: no act"),
        }
    };
    for line in [
        "set server nodes/webapp-1 state drain",
        "order nodes/webapp-1 maint",
        "set weight nodes/webapp-1 7",
        "order nodes/webapp-1 weight 50%",
        "set maxconn server nodes/webapp-1 9",
        "set server nodes/webapp-1 health down",
        "enable health nodes/webapp-1",
        "disable health nodes/webapp-1",
        "set server nodes/webapp-1 check-port 81",
        "set server nodes/webapp-1 addr 10.0.0.1",
        "set server nodes/webapp-1 addr ::1 port 82",
        "shutdown sessions server nodes/webapp-1",
        "add server nodes/n 10.0.0.1:80 weight 3 maxconn 4 backup disabled",
        "add server nodes/n 10.0.0.1:80 weight 0",
        "set maxconn frontend localnodes 5",
        "enable frontend localnodes",
        "disable frontend localnodes",
        "clear counters",
        "clear counters all",
        "del server nodes/webapp-1",
        "join a:1 b",
        "leave",
        "leave webapp-1",
        r#"cluster query {"name":"q","nodes":["a"],"payload":"p","tags":{"t":"v"}}"#,
        r#"cluster event {"coalesce":false,"name":"deploy","payload":"v1"}"#,
        r#"cluster keys {"act":"list"}"#,
        "reload",
    ] {
        assert_eq!(read(line).to_string(), line);
    }
    let others = [
        (
            "disable server nodes/webapp-1",
            "set server nodes/webapp-1 state maint",
        ),
        (
            "set server nodes/webapp-1 weight 7",
            "set weight nodes/webapp-1 7",
        ),
        (
            r#"cluster keys {"act":"use","key":"c2VjcmV0"}"#,
            r#"cluster keys {"act":"use"}"#,
        ),
        (r#"cluster leave {"member":"a\nb"}"#, r#"leave "a\nb""#),
    ];
    for (line, words) in others {
        assert_eq!(read(line).to_string(), words);
    }
}
