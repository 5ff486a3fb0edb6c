//! What a file means, what is wrong with it, and which value wins.

use std::path::Path;

use clap::{Args, Command, FromArgMatches};

use roundel_balance::OutlierSpec;
use roundel_proxy::{HashOn, ProxyVersion};

use super::resolve::load_text;
use super::{Acts, Discover, LoadError, Settings, Source};
use crate::Given;
use crate::flags::Flags;

mod back;
mod grpc;
mod keys;
mod rules;
mod tls;
mod validator;

fn load(text: Option<&str>, flags: &[&str]) -> Result<Settings, LoadError> {
    let source = text.map(|text| Source::new("roundel.toml", text.to_owned()));
    resolve(source, flags)
}

fn resolve(source: Option<Source>, flags: &[&str]) -> Result<Settings, LoadError> {
    let command = Flags::augment_args(Command::new("serve"));
    let words = ["serve"].iter().chain(flags);
    let matches = command.clone().try_get_matches_from(words).unwrap();
    let given = Given::new(&command, &matches);
    let flags = Flags::from_arg_matches(&matches).unwrap();
    let lookup = |name: &str| (name == "PORT").then(|| "3001".to_owned());
    load_text(source, &flags, &given, &lookup)
}

fn fine(text: &str, flags: &[&str]) -> Settings {
    match load(Some(text), flags) {
        Ok(settings) => settings,
        Err(error) => panic!("{}", shown(&error)),
    }
}

fn shown(error: &LoadError) -> String {
    match error {
        LoadError::Usage(text) => format!("usage: {text}\n"),
        LoadError::Problems(problems) => problems.to_string(),
    }
}

/// The whole output for a wrong file.
#[track_caller]
fn wrong(text: &str, expected: &str) {
    let error = load(Some(text), &[]).expect_err("the file is wrong");
    assert_eq!(shown(&error), expected);
}

const STATIC: &str =
    "[[backend]]\nname = \"nodes\"\nserver = [{ name = \"s1\", address = \"10.0.0.1\" }]\n";

#[test]
fn without_file_and_flags_it_is_the_classroom() {
    let s = load(None, &[]).map_err(|e| shown(&e)).unwrap();
    assert_eq!(s.frontends[0].name, "localnodes");
    assert_eq!(s.frontends[0].listen[0].address.port(), 80);
    assert_eq!(s.process.stats_listen.port(), 1936);
    assert_eq!(s.process.cli_listen.unwrap().to_string(), "127.0.0.1:9999");
    assert_eq!(s.process.acts, Acts::Off);
    let gossip = s.gossip.unwrap();
    assert_eq!(gossip.listen.port(), 7946);
    assert_eq!(gossip.tags["role"], "balancer");
    assert_eq!(gossip.memory, crate::bounds::GOSSIP_MEMORY);
    assert_eq!(gossip.max_members, crate::bounds::GOSSIP_MEMBERS);
    let nodes = &s.backends[0];
    assert_eq!(nodes.name, "nodes");
    let by_gossip = Discover::Gossip {
        role: "backend".to_owned(),
        from: Vec::new(),
    };
    assert_eq!(nodes.discover, [by_gossip]);
    assert_eq!(nodes.max_servers.to_string(), crate::bounds::SERVERS);
    assert_eq!((nodes.server_port, nodes.retries), (3000, 3));
    assert_eq!(nodes.sticky.as_ref().unwrap().cookie, "SERVERID");
    assert_eq!(nodes.check.kind.to_string(), "HEAD /");
    assert_eq!((nodes.check.rise, nodes.check.fall), (2, 3));
}

#[test]
fn five_mistakes_get_five_located_messages() {
    wrong(
        concat!(
            "[global]\nthreads = \"many\"\n\n",
            "[[frontend]]\nname = \"web\"\nlisten = [\"8080\"]\ndefault_backend = \"node\"\n\n",
            "[[backend]]\nname = \"nodes\"\nretires = 2\n",
            "\tcheck = { every = \"2 parsecs\" }\n",
            "server = [{ name = \"s1\", address = \"10.0.0.1:3000\" }]\n",
        ),
        "\
roundel.toml:2:11: error: `global.threads` is a string, not a number
   2 | threads = \"many\"
     |           ^^^^^^
     hint: write for example 0
roundel.toml:6:11: error: `8080` is not an address to listen on
   6 | listen = [\"8080\"]
     |           ^^^^^^
     hint: did you mean \":8080\"?
roundel.toml:7:19: error: there is no backend named `node`
   7 | default_backend = \"node\"
     |                   ^^^^^^
     hint: did you mean \"nodes\"?
roundel.toml:11:1: error: unknown key `retires` in backend
  11 | retires = 2
     | ^^^^^^^
     hint: did you mean `retries`?
roundel.toml:12:20: error: `2 parsecs` is not a duration
  12 | \tcheck = { every = \"2 parsecs\" }
     | \t                  ^^^^^^^^^^^
     hint: write a number and a unit, such as \"5s\", \"250ms\" or \"1h\"
5 problems found
",
    );
}

#[test]
fn of_many_mistakes_the_first_are_shown_and_all_are_counted() {
    let keys = |n: usize| (0..n).map(|i| format!("key_{i} = 1\n")).collect::<String>();
    let shown = |n| shown(&load(Some(&(keys(n) + STATIC)), &[]).expect_err("wrong keys"));
    let few = shown(100);
    assert_eq!(few.matches("error: unknown key").count(), 100);
    assert!(few.ends_with("\n100 problems found\n"), "{few}");
    let many = shown(20_000);
    assert_eq!(many.matches("error: unknown key").count(), 100);
    assert!(many.contains("roundel.toml:100:1: error: unknown key `key_99`"));
    assert!(many.ends_with("\n20000 problems found; only the first 100 are shown\n"));
}

/// Each reference is looked up, not compared with every backend.
#[test]
fn thousands_of_backends_and_of_routes_to_none_of_them() {
    let many = 9_000;
    let backends = (0..many).map(|n| STATIC.replace("nodes", &format!("b{n}")));
    let routes = (0..many).map(|n| format!("{{ host = \"h{n}\", backend = \"x{n}\" }},\n"));
    let text = format!(
        "{}[[frontend]]\nname = \"web\"\nlisten = [\":8080\"]\ndefault_backend = \"b1\"\nroute = [\n{}]\n",
        backends.collect::<String>(),
        routes.collect::<String>(),
    );
    let shown = shown(&load(Some(&text), &[]).expect_err("unknown backends"));
    assert!(
        shown.contains("error: there is no backend named `x0`"),
        "{shown}"
    );
    assert!(shown.ends_with("\n9000 problems found; only the first 100 are shown\n"));
}

#[test]
fn a_mistake_of_syntax_is_located() {
    wrong(
        "[global\nthreads = 1\n",
        "\
roundel.toml:1:8: error: unclosed table, expected `]`
   1 | [global
     |        ^
     hint: the file is TOML: key = \"value\", [table], [[list of tables]]
1 problem found
",
    );
}

#[test]
fn common_slips_are_told_once_and_with_the_cure() {
    let check = |text: &str, parts: [&str; 2]| {
        let error = shown(&load(Some(text), &[]).expect_err(text));
        assert!(error.ends_with("\n1 problem found\n"), "{error}");
        for part in parts {
            assert!(error.contains(part), "{part} in\n{error}");
        }
    };
    let haproxy = "# comment\n\nglobal\n    daemon\n\nfrontend f\n    bind *:80\n";
    check(haproxy, ["toml:3:1: ", "a configuration of HAProxy"]);
    let number = format!("[[frontend]]\nname = \"f\"\nlisten = 24010\n{STATIC}");
    check(&number, ["toml:3:10: ", "write \":24010\""]);
    let wrong =
        "[[backend]]\nname = \"b\"\nserver = [{ name = \"s\", address = \"10.0.0.1:99999\" }]\n";
    check(wrong, ["toml:3:35: ", "not the address of a server"]);
    let port = format!("{STATIC}check = {{ http = \"HEAD /\", port = 81 }}\n");
    check(&port, ["cannot do `port`", "the port of its server"]);
}

#[test]
fn what_only_the_whole_tells() {
    let check = |text: &str, part: &str| {
        let error = shown(&load(Some(text), &[]).expect_err(text));
        assert!(error.contains(part), "{part} in\n{error}");
    };
    check("[stats]\n", "no server can ever appear");
    check(
        "[[backend]]\nname = \"a\"\n",
        "no server can ever appear in `a`",
    );
    check(
        "[[backend]]\nname = \"a\"\ndiscover = [{ gossip = {} }]\n",
        "gossip is off",
    );
    check(&format!("{STATIC}{STATIC}"), "two backends named `nodes`");
    check(
        &format!(
            "[[frontend]]\nname = \"a\"\nlisten = \":80\"\n[[frontend]]\nname = \"b\"\nlisten = \":80\"\n{STATIC}"
        ),
        ":80 is already taken by the frontend `a`",
    );
    check(
        &format!("{STATIC}[stats]\nadmin = \"token\"\n"),
        "needs a token",
    );
    check(
        "[stats]\nadmin_token_file = \"/nonexistent\"\n[gossip]\n",
        "cannot read",
    );
}

#[test]
fn flags_win_over_the_file_and_the_file_over_defaults() {
    let text = format!("{STATIC}[stats]\nlisten = \":2000\"\n[access_log]\nformat = \"off\"\n");
    let s = fine(&text, &["--stats-listen", "127.0.0.1:3000"]);
    assert_eq!(s.process.stats_listen.to_string(), "127.0.0.1:3000");
    let printed = s.to_string();
    let remark = |line: &str| {
        let line = printed.lines().find(|l| l.starts_with(line)).unwrap();
        line.split_once(" # ").unwrap().1.to_owned()
    };
    assert_eq!(remark("listen = \"127.0.0.1:3000\""), "flag --stats-listen");
    assert_eq!(s.process.access_log, None);
    assert_eq!(remark("format = "), "roundel.toml:7");
    assert_eq!(remark("threads = "), "default");
    assert_eq!(s.gossip, None);
}

#[test]
fn any_gossip_flag_turns_gossip_on() {
    let tags = ["--tag", "zone=x", "--tag", "paths=/a,/b"];
    let s = fine(STATIC, &[&["--join", "a,b"][..], &tags].concat());
    let gossip = s.gossip.unwrap();
    assert_eq!(gossip.join, ["a", "b"]);
    assert_eq!(
        (&*gossip.tags["zone"], &*gossip.tags["role"]),
        ("x", "balancer")
    );
    assert_eq!(&*gossip.tags["paths"], "/a,/b");
}

#[test]
fn flags_of_the_single_backend_contradict_a_file_with_backends() {
    for flags in [
        ["--listen", ":80"],
        ["--check", "tcp"],
        ["--static", "a=10.0.0.1:1"],
    ] {
        let error = load(Some(STATIC), &flags).unwrap_err();
        assert!(matches!(error, LoadError::Usage(_)), "{}", shown(&error));
    }
    let s = fine(
        "[gossip]\n",
        &["--static", "a=10.0.0.1", "--server-port", "81"],
    );
    let Discover::Static(servers) = &s.backends[0].discover[0] else {
        panic!("static servers come first");
    };
    assert_eq!(servers[0].address.to_string(), "10.0.0.1:81");
}

#[test]
fn defaults_reach_every_backend_and_are_overridden() {
    let text = concat!(
        "[defaults]\nretries = 1\ntimeouts = { connect = \"1s\", server = \"9s\", client = \"7s\", total = \"1m\" }\n",
        "[[backend]]\nname = \"a\"\nserver = [{ name = \"s\", address = \"[::1]:1\", weight = 9 }]\n",
        "timeouts = { connect = \"250ms\", response_idle = \"3s\" }\nretries = 0\nsticky = \"off\"\n",
        "check = { http = \"GET /up\", every = \"5s\" }\n",
    );
    let s = fine(text, &[]);
    let a = &s.backends[0];
    assert_eq!(a.timeouts.connect.as_millis(), 250);
    assert_eq!((s.process.maxconn, s.frontends[0].maxconn), (0, 0));
    assert_eq!(a.timeouts.first_byte.as_secs(), 9);
    assert_eq!(a.timeouts.response_idle.as_secs(), 3);
    assert_eq!(a.timeouts.total.as_secs(), 60);
    assert_eq!((a.retries, &a.sticky), (0, &None));
    assert_eq!(a.check.timeout.as_secs(), 5);
    assert_eq!(s.frontends[0].timeouts.client.as_secs(), 7);
    assert_eq!(s.frontends[0].timeouts.request_body.as_secs(), 7);
    assert_eq!(s.frontends[0].default_backend, "a");
}

#[test]
fn limits_of_connections_and_time_are_read_and_their_mistakes_shown() {
    let s = fine(
        &format!(
            "[global]\nmaxconn = 5000\n[[frontend]]\nname = \"web\"\nlisten = [\":80\"]\nmaxconn = 70\n\
             timeouts = {{ request_body = \"4s\" }}\n{STATIC}abort_on_close = true\n\
             timeouts = {{ first_byte = \"2s\", total = \"9s\" }}\n"
        ),
        &[],
    );
    assert_eq!((s.process.maxconn, s.frontends[0].maxconn), (5000, 70));
    let (client, server) = (s.frontends[0].timeouts, s.backends[0].timeouts);
    assert_eq!(
        (client.request_body.as_secs(), client.client.as_secs()),
        (4, 50)
    );
    assert_eq!(
        (server.first_byte.as_secs(), server.response_idle.as_secs()),
        (2, 50)
    );
    assert_eq!(server.total.as_secs(), 9);
    assert!(s.backends[0].abort_on_close);
    let printed = s.to_string();
    for line in [
        "maxconn = 5000",
        "timeouts.first_byte = \"2s\"",
        "abort_on_close = true",
    ] {
        assert!(printed.contains(line), "{line} in\n{printed}");
    }
    assert_eq!(
        fine(&printed, &[]).to_string().lines().count(),
        printed.lines().count()
    );
    wrong(
        &format!(
            "[global]\nmaxcon = 1\n[defaults]\ntimeouts = {{ first_bite = \"1s\" }}\n{STATIC}"
        ),
        "\
roundel.toml:2:1: error: unknown key `maxcon` in global
   2 | maxcon = 1
     | ^^^^^^
     hint: did you mean `maxconn`?
roundel.toml:4:14: error: unknown key `first_bite` in defaults.timeouts
   4 | timeouts = { first_bite = \"1s\" }
     |              ^^^^^^^^^^
     hint: did you mean `first_byte`?
2 problems found
",
    );
}

#[test]
fn variables_and_windows_line_ends() {
    let text = "\u{feff}[[backend]]\r\nname = \"nodes\"\r\nserver_port = \"${PORT}\"\r\nserver = [{ name = \"s${N:-9}\", address = \"10.0.0.1\" }]\r\n";
    let s = fine(text, &[]);
    let Discover::Static(servers) = &s.backends[0].discover[0] else {
        panic!("static");
    };
    assert_eq!(servers[0].name, "s9");
    assert_eq!(s.backends[0].server_port, 3001);
}

#[test]
fn json_of_the_same_shape() {
    let text =
        r#"{"gossip": {"join": ["a"]}, "backend": [{"name": "b", "retries": 1, "check": "off"}]}"#;
    let s = fine(text, &[]);
    assert_eq!(
        (s.backends[0].retries, s.gossip.unwrap().join.len()),
        (1, 1)
    );
    let error = shown(&load(Some("{\n  \"a\": ]\n}"), &[]).unwrap_err());
    assert!(
        error.starts_with("roundel.toml:2:8: error: expected value"),
        "{error}"
    );
    let error = shown(&load(Some(r#"{"gossip": {"jion": []}}"#), &[]).unwrap_err());
    assert!(
        error.contains("roundel.toml as TOML:2:1: error: unknown key `jion`"),
        "{error}"
    );
}

#[test]
fn how_servers_are_picked_spared_and_put_out() {
    let s = fine(STATIC, &[]);
    let b = &s.backends[0];
    assert_eq!(b.hash_on, HashOn::Source);
    assert_eq!(b.outlier, OutlierSpec::default());
    assert_eq!((b.maxconn, b.max_queue, b.slow_start.as_secs()), (0, 0, 0));
    let with = |key: &str| fine(&format!("{STATIC}{key}\n"), &[]).backends.remove(0);
    let b = with("balance = \"hash\"\nhash_on = { cookie = \"id\" }\nslow_start = \"30s\"");
    assert_eq!(b.hash_on, HashOn::Cookie("id".to_owned()));
    assert_eq!(b.slow_start.as_secs(), 30);
    assert_eq!(with("outlier = \"off\"").outlier, OutlierSpec::OFF);
    let b = with("outlier = { consecutive = 3, error_ratio = 0.25, base_ejection = \"1s\" }");
    assert_eq!((b.outlier.consecutive, b.outlier.error_percent), (3, 25));
    assert_eq!(b.outlier.base_ejection.as_secs(), 1);
    assert_eq!(with("retry_budget = 0.5").retry_budget.percent, 50);
    let wrong = |key: &str, part: &str| {
        let error = shown(&load(Some(&format!("{STATIC}{key}\n")), &[]).expect_err(key));
        assert!(error.contains("roundel.toml:4:"), "{error}");
        assert!(error.contains(part), "{part} in\n{error}");
    };
    wrong("hash_on = \"sauce\"", "not a part of a request");
    wrong(
        "hash_on = { header = \"a b\" }",
        "cannot be the name of a header",
    );
    wrong(
        "hash_on = { header = \"a\", cookie = \"b\" }",
        "one header or one cookie",
    );
    wrong("outlier = \"on\"", "write \"off\"");
    wrong("outlier = { error_ratio = 50 }", "use 0.0 to 1.0");
    wrong(
        "outlier = { consecutiv = 5 }",
        "did you mean `consecutive`?",
    );
    wrong("outlier = { interval = \"0s\" }", "cannot be zero");
    wrong("maxconn = \"many\"", "not a number");
}

#[test]
fn what_check_prints_means_the_same() {
    let text = concat!(
        "[gossip]\njoin = [\"a\"]\n[[frontend]]\nname = \"f\"\nlisten = [{ address = \":8080\", h2c = false }]\n",
        "route = [{ host = \"A.example.org\", path_prefix = \"/v1\", backend = \"b\" }]\ndefault_backend = \"b\"\n",
        "[[backend]]\nname = \"b\"\nbalance = \"maglev\"\nhash_on = { header = \"X-User\" }\ncheck = \"tcp\"\n",
        "slow_start = \"10s\"\nmaxconn = 9\nmax_queue = 99\nretry_budget = 0.05\n",
        "outlier = { consecutive_5xx = 7, error_ratio = 0.5, max_ejected = 1 }\n",
        "discover = [{ dns = { name = \"w\" } }, { dns = { name = \"v\", hold = \"5s\", nameservers = [\"10.0.0.53\", \"[::1]:8600\"] } }, { file = { path = \"/n$$\" } }]\n",
        "server = [{ name = \"s\", address = \"10.0.0.1:1\", backup = true, maxconn = 2 }]\n",
        "request_headers = { set = { Host = \"h\", X = \"$$1 %{client_ip} %%{host}\" }, remove = [\"Y\"] }\n",
        "response_headers = { add = { \"Z\" = \"\\\"quoted\\\"\" } }\n",
    );
    let first = fine(text, &[]);
    let second = fine(&first.to_string(), &[]);
    assert_eq!(first.frontends, second.frontends);
    assert_eq!(first.backends, second.backends);
    assert_eq!(first.process, second.process);
    assert_eq!(first.gossip, second.gossip);
}

#[test]
fn every_example_loads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config");
    // With the certificates that one of them has beside it.
    let beside = tls::folder();
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "toml") {
            let copy = beside.path().join(path.file_name().unwrap());
            std::fs::copy(&path, &copy).unwrap();
            let source = Source::read(&copy).unwrap();
            if let Err(error) = resolve(Some(source), &[]) {
                panic!("{}", shown(&error));
            }
            count += 1;
        }
    }
    assert!(count >= 4, "only {count} examples");
}

#[test]
fn the_proxy_protocol_needs_somebody_to_trust() {
    let listen =
        "[[frontend]]\nname = \"web\"\nlisten = [{ address = \":81\", proxy_protocol = true }]\n";
    wrong(
        &format!("{listen}{STATIC}"),
        "\
roundel.toml:3:11: error: nobody is trusted to send the PROXY protocol here
   3 | listen = [{ address = \":81\", proxy_protocol = true }]
     |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
     hint: add trusted_proxies = [\"10.0.0.0/8\"] with the networks of the proxies in front
1 problem found
",
    );
    let trusted = "[defaults]\ntrusted_proxies = [\"10.0.0.0/8\"]\n";
    let s = fine(&format!("{trusted}{listen}{STATIC}"), &[]);
    assert!(s.frontends[0].listen[0].proxy_protocol && s.frontends[0].listen[0].h2c);
    let again = fine(&s.to_string(), &[]);
    assert_eq!(again.frontends, s.frontends);
}

#[test]
fn the_proxy_protocol_is_sent_by_backend_or_server() {
    let text = "[[backend]]\nname = \"nodes\"\nsend_proxy = \"v2\"\nserver = [\
                { name = \"a\", address = \"10.0.0.1\" },\
                { name = \"b\", address = \"10.0.0.2\", send_proxy = \"off\" },\
                { name = \"c\", address = \"10.0.0.3\", send_proxy = \"v1\" }]\n";
    let s = fine(text, &[]);
    let rule = s.backends[0].proxy_header();
    let to = |name: &str| rule.to(&roundel_model::Name::new(name).unwrap());
    assert_eq!(to("a"), Some(ProxyVersion::V2));
    assert_eq!((to("b"), to("c")), (None, Some(ProxyVersion::V1)));
    let again = fine(&s.to_string(), &[]);
    assert_eq!(again.backends, s.backends);
    wrong(
        &format!("{STATIC}send_proxy = \"v3\"\n"),
        "\
roundel.toml:4:14: error: `v3` is not known here
   4 | send_proxy = \"v3\"
     |              ^^^^
     hint: did you mean \"v1\"?
1 problem found
",
    );
}
