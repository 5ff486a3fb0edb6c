//! What the verbs tell people: pages, reports, help, and what a terminal is shown.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Output};

use roundel_testkit::{Origin, Process, Reply, external, free_address, wait_for};
use serde_json::Value;

use crate::balancer::{Balancer, SOON, roundel, without_variables};
use crate::turns::beside_others;

/// Runs a verb to its end, at a screen of no known width.
fn run(words: &[&str]) -> Output {
    let mut command = roundel(words);
    command.env_remove("COLUMNS").output().unwrap()
}

/// Asks a balancer.
fn ask(balancer: &Balancer, words: &[&str]) -> Output {
    let stats = format!("http://{}", balancer.stats);
    run(&[words, &["--stats", &stats]].concat())
}

/// What a verb that succeeds prints.
fn told(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What a verb that fails with this code complains of.
fn complaint(output: Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// A program of ours at a terminal of 80 columns; `None` where there is nothing that makes one.
fn at_terminal(words: &[&str]) -> Option<Process> {
    let script = external("script", "bsdutils")?;
    let line = format!(
        "stty rows 24 cols 80; exec {} {}",
        env!("CARGO_BIN_EXE_roundel"),
        words.join(" ")
    );
    let mut command = without_variables(Command::new(script));
    command
        .args(["-q", "-f", "-c", &line, "/dev/null"])
        .env("TERM", "xterm")
        .env_remove("COLUMNS")
        .env_remove("NO_COLOR");
    Some(Process::spawn(&mut command))
}

/// Text without what moves and colours it: sequences that a letter ends.
fn plain(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| {
        let end = part.find(|c: char| c.is_ascii_alphabetic());
        plain + &part[end.map_or(part.len(), |at| at + 1)..]
    })
}

fn widest(text: &str) -> usize {
    let lines = text.lines().map(|line| line.trim_end().chars().count());
    lines.max().unwrap_or(0)
}

#[test]
fn stat_fits_its_reader() {
    let _turn = beside_others();
    let demo = Balancer::demo(12, &[]);
    let page = told(ask(&demo, &["stat"]));
    assert!(
        page.lines()
            .nth(1)
            .unwrap()
            .starts_with("12 of 12 servers serving"),
        "{page}"
    );
    let (_, servers) = page.split_once("BACKEND nodes").unwrap();
    for column in ["REQ/S", "5XX", "P99", "QUEUE", "STATE", "TOTAL"] {
        assert!(servers.contains(column), "{column} is missing:\n{page}");
    }
    assert!(widest(servers) <= 80, "{page}");
    let at = |name: &str| servers.find(&format!("\n{name} ")).expect(name);
    assert!(at("webapp-2") < at("webapp-10"), "{page}");
    assert!(!page.contains('\x1b'), "{page}");

    let stats = format!("http://{}", demo.stats);
    let mut wide = roundel(&["stat", "--stats", &stats]);
    let wide = told(wide.env("COLUMNS", "200").output().unwrap());
    assert!(
        wide.contains("SOURCE") && !page.contains("SOURCE"),
        "{wide}"
    );

    let Some(shown) = at_terminal(&["stat", "--stats", &stats]) else {
        return;
    };
    wait_for("the sum", SOON, || {
        shown.stdout().contains("12/12 up").then_some(())
    });
    let colours = shown.stdout();
    assert!(colours.contains("\x1b[32m"), "{colours}");
    assert!(widest(&plain(&colours)) <= 80, "{colours}");
}

#[test]
fn stat_goes_on_until_it_is_ended() {
    let _turn = beside_others();
    let demo = Balancer::demo(1, &[]);
    let stats = format!("http://{}", demo.stats);
    let mut watch = Process::spawn(&mut roundel(&["stat", "-w", "--stats", &stats]));
    wait_for("three pages", SOON, || {
        (watch.stdout().matches("TOTAL").count() >= 3).then_some(())
    });
    assert!(watch.try_exit().is_none(), "{watch}");
    // It tells of what has changed since its first page.
    demo.get("/");
    wait_for("the request", SOON, || {
        let pages = watch.stdout();
        let (_, last) = pages.rsplit_once("\nFRONTEND ")?;
        let requests = last.lines().nth(1)?.split_whitespace().last()?;
        (requests == "1").then_some(())
    });
    drop(demo);
    assert_eq!(watch.wait_exit(SOON).code(), Some(1), "{watch}");
    assert!(watch.stderr().contains(&stats[7..]), "{watch}");
}

#[test]
fn one_server_is_told_alone() {
    let _turn = beside_others();
    let demo = Balancer::demo(2, &[]);
    let one = told(ask(&demo, &["stat", "nodes/webapp-1"]));
    for word in ["nodes/webapp-1", "in flight", "answers", "mean time"] {
        assert!(one.contains(word), "{word} is missing:\n{one}");
    }
    assert!(!one.contains("webapp-2"), "{one}");
    let backend = told(ask(&demo, &["stat", "nodes"]));
    assert!(backend.contains("webapp-2"), "{backend}");
    assert!(!backend.contains("FRONTEND"), "{backend}");
    for verb in ["stat", "why"] {
        for (name, words) in [
            (
                "nobody/a",
                "no backend is called `nobody`; there are: nodes",
            ),
            (
                "nodes/nobody",
                "no server of nodes is called `nobody`; there are: webapp-1, webapp-2",
            ),
            ("nodes/\x1b[2J", "`\\u{1b}[2J`"),
        ] {
            let complaint = complaint(ask(&demo, &[verb, name]), 1);
            assert!(complaint.contains(words), "{verb}: {complaint}");
        }
    }
}

#[test]
fn why_tells_each_step() {
    let _turn = beside_others();
    let demo = Balancer::demo(2, &[]);
    let why = || told(ask(&demo, &["why", "nodes/webapp-1"]));
    let up = why();
    assert!(up.starts_with("nodes/webapp-1 is up for "), "{up}");
    for word in [
        "member alive for",
        "gossip gives",
        "orders       none",
        "the check",
        "decided      up",
    ] {
        assert!(up.contains(word), "{word} is missing:\n{up}");
    }
    told(ask(&demo, &["maint", "nodes/webapp-1"]));
    wait_for("the order", SOON, || {
        why().contains("an operator ordered maint").then_some(())
    });
    wait_for("its state", SOON, || {
        let told = why();
        let is_out = told.starts_with("nodes/webapp-1 is maint for ");
        (is_out && told.contains("takes no requests")).then_some(())
    });
    let half = complaint(ask(&demo, &["why", "nodes"]), 1);
    assert!(half.contains("write BACKEND/SERVER"), "{half}");
}

#[test]
fn a_report_is_its_writers_alone_and_overwrites_nothing() {
    let _turn = beside_others();
    let demo = Balancer::demo(2, &[]);
    told(ask(&demo, &["maint", "nodes/webapp-2"]));
    wait_for("maint", SOON, || {
        let states = demo.states();
        states
            .contains(&("webapp-2".into(), "maint".into()))
            .then_some(())
    });
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let file = at("report.md");
    told(ask(&demo, &["report", "-o", &file]));
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let report = fs::read_to_string(&file).unwrap();
    for words in [
        "# Roundel ",
        "\n## Servers and numbers\n",
        "nodes/webapp-2 is maint for",
        "\n## Failures\n",
        "\n## Members\n",
        "\n## Events (UTC)\n",
    ] {
        assert!(report.contains(words), "{words:?} is missing:\n{report}");
    }
    assert!(!report.contains('\x1b'), "{report}");
    assert!(told(ask(&demo, &["report"])).contains("\n## Events (UTC)\n"));

    symlink(at("elsewhere"), at("link")).unwrap();
    for taken in [&file, &at("link")] {
        let complaint = complaint(ask(&demo, &["report", "-o", taken]), 1);
        assert!(complaint.contains(taken.as_str()), "{complaint}");
        assert!(complaint.contains("exists"), "{complaint}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), report);
    assert!(!fs::exists(at("elsewhere")).unwrap());
}

/// The verbs, as `help` lists them.
fn verbs() -> BTreeSet<String> {
    let help = told(run(&["help"]));
    let (_, groups) = help.split_once("\nRun:\n").unwrap();
    let (groups, _) = groups.split_once("\n\nOptions:").unwrap();
    let lines = groups.lines().filter_map(|line| line.strip_prefix("  "));
    let verbs = lines.filter_map(|line| line.split(' ').next());
    verbs.map(str::to_owned).collect()
}

#[test]
fn help_tells_of_every_verb() {
    let help = told(run(&["help"]));
    assert_eq!(told(run(&["--help"])), help);
    assert_eq!(told(run(&[])), help);
    for group in ["Run:", "See:", "Act:", "Cluster:", "Files and shells:"] {
        assert!(help.contains(group), "{help}");
    }
    let verbs = verbs();
    assert!(verbs.len() > 20, "{verbs:?}");
    for verb in verbs.iter().filter(|verb| *verb != "help") {
        let one = told(run(&["help", verb]));
        let (_, examples) = one.split_once("\nExamples:\n").expect(verb);
        assert_eq!(examples.matches("  # ").count(), 2, "{one}");
        assert!(one.contains(&format!("Usage: roundel {verb}")), "{one}");
    }
    assert!(complaint(run(&["help", "nonsense"]), 2).contains("nonsense"));
}

#[test]
fn a_status_that_no_member_has_is_refused() {
    let _turn = beside_others();
    let demo = Balancer::demo(1, &[]);
    let bogus = complaint(ask(&demo, &["members", "--status", "bogus"]), 2);
    for word in ["bogus", "alive", "leaving", "left", "failed"] {
        assert!(bogus.contains(word), "{bogus}");
    }
    let alive = told(ask(&demo, &["members", "--status", "alive"]));
    assert!(alive.contains("webapp-1"), "{alive}");
    let failed = told(ask(&demo, &["members", "--status", "failed"]));
    assert!(!failed.contains("webapp-1"), "{failed}");
}

#[test]
fn shells_complete_every_verb() {
    for (shell, mark) in [
        ("bash", "complete -F _roundel"),
        ("zsh", "#compdef roundel"),
        ("fish", "complete -c roundel"),
    ] {
        let script = told(run(&["completions", shell]));
        assert!(script.contains(mark), "{shell}");
        for verb in verbs() {
            assert!(script.contains(&verb), "{shell} does not know {verb}");
        }
    }
    assert!(complaint(run(&["completions", "tcsh"]), 2).contains("bash, zsh, fish"));
    let Some(bash) = external("bash", "bash") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("roundel");
    fs::write(&file, told(run(&["completions", "bash"]))).unwrap();
    let checked = Command::new(&bash).arg("-n").arg(&file).output().unwrap();
    assert!(
        checked.status.success() && checked.stderr.is_empty(),
        "{checked:?}"
    );
    // As bash does when somebody types `roundel com` and a tab.
    let typed = "source \"$1\"; COMP_WORDS=(roundel com); COMP_CWORD=1; _roundel roundel com roundel; \
                 echo \"${COMPREPLY[@]}\"";
    let mut command = Command::new(&bash);
    let typed = command.args(["--norc", "-c", typed, "bash"]).arg(&file);
    assert_eq!(told(typed.output().unwrap()), "completions\n");
}

#[test]
fn manual_pages_are_whole() {
    let page = told(run(&["man"]));
    assert!(page.contains(".TH roundel 1"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    told(run(&["man", "--dir", pages.to_str().unwrap()]));
    // The verb that clap makes itself has no page in the folder.
    let help =
        ".TP\nroundel\\-help(1)\nPrint this message or the help of the given subcommand(s)\n";
    let first = fs::read_to_string(pages.join("roundel.1")).unwrap();
    assert_eq!(first, page.replace(help, ""));
    for verb in verbs().iter().filter(|verb| *verb != "help") {
        let page = fs::read_to_string(pages.join(format!("roundel-{verb}.1"))).expect(verb);
        assert!(page.contains("Examples:"), "{verb}: {page}");
    }
    let Some(groff) = external("groff", "groff-base") else {
        return;
    };
    for name in ["roundel.1", "roundel-stat.1", "roundel-serve.1"] {
        let mut command = Command::new(&groff);
        let typeset = command.args(["-man", "-Tutf8", "-z"]).arg(pages.join(name));
        let output = typeset.output().unwrap();
        let is_quiet = output.status.success() && output.stderr.is_empty();
        assert!(is_quiet, "{name}: {output:?}");
    }
    let file = folder.path().join("file");
    fs::write(&file, "mine").unwrap();
    let file = file.to_str().unwrap();
    let refused = complaint(run(&["man", "--dir", file]), 1);
    assert!(refused.contains(file), "{refused}");
}

#[test]
fn a_terminal_reads_one_short_line_a_request() {
    let _turn = beside_others();
    let origin = Origin::start(|_| Reply::text("served"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("roundel.toml");
    let [front, stats] = [free_address(), free_address()];
    let text = format!(
        "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n\
         [[frontend]]\nname = \"web\"\nlisten = [\"{front}\"]\ndefault_backend = \"nodes\"\n\
         [[backend]]\nname = \"nodes\"\nserver = [{{ name = \"a\", address = \"{}\" }}]\n",
        origin.address()
    );
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let path = "/shop?token=12345";

    let mut piped = Balancer::with_file(file, [front, stats]);
    piped.wait_up(1, SOON);
    assert_eq!(piped.get(path).status, 200);
    let line = piped.process.wait_line("/shop", SOON);
    let json: Value = serde_json::from_str(&line).expect("JSON for programs");
    assert_eq!(json["status"], 200, "{line}");
    piped.process.kill();

    let Some(process) = at_terminal(&["serve", "-c", file]) else {
        return;
    };
    let gossip = stats;
    let shown = Balancer {
        process,
        front,
        stats,
        gossip,
    }
    .ready();
    shown.wait_up(1, SOON);
    assert_eq!(shown.get(path).status, 200);
    let line = shown.process.wait_line("/shop", SOON);
    let words: Vec<&str> = line.split_whitespace().collect();
    let [clock, rest @ .., time] = &words[..] else {
        panic!("{line:?}");
    };
    let digits = clock
        .split(':')
        .filter(|two| two.len() == 2 && two.parse::<u8>().is_ok());
    assert_eq!((digits.count(), clock.len()), (3, 8), "{line:?}");
    assert_eq!(rest, ["GET", "/shop", "200", "a"], "{line:?}");
    let time = time
        .strip_suffix("ms")
        .and_then(|ms| ms.parse::<f64>().ok());
    assert!(time.is_some_and(|ms| ms < 30_000.0), "{line:?}");
    assert!(!line.contains('\x1b'), "{line:?}");
    assert!(
        !shown.process.stdout().contains("12345"),
        "{}",
        shown.process
    );
}
