//! The times of the access log, and what halog makes of them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use roundel_testkit::{Origin, Process, Reply, external, free_address, get, wait_for};

use super::{Pair, output, wait_lines};
use crate::balancer::SOON;
use crate::turns::beside_others;

/// What the server takes for an answer; far above what a busy machine adds.
const TAKES: Duration = Duration::from_millis(300);

/// Wait, queue, connect, response and all, in milliseconds, of a line.
fn times(line: &str) -> [i64; 5] {
    let word = line.split(' ').nth(4).unwrap();
    let times: Vec<i64> = word.split('/').map(|t| t.parse().unwrap()).collect();
    times.try_into().unwrap()
}

/// The places in the queues of server and backend.
fn places(line: &str) -> &str {
    line.split(' ').nth(11).unwrap()
}

fn four_at_once(front: SocketAddr) {
    let ask = || thread::spawn(move || get(front, "/slow").unwrap().status);
    for asked in [(); 4].map(|()| ask()) {
        assert_eq!(asked.join().unwrap(), 200);
    }
}

fn judge(who: &str, process: &Process) -> Vec<String> {
    let mut lines = wait_lines(process, "/slow", 4);
    lines.sort_by_key(|line| times(line)[1]);
    for (i, line) in lines.iter().enumerate() {
        let [wait, queue, connect, first, all] = times(line);
        // Each may be rounded down by a millisecond of its own.
        let sum = wait + queue + connect + first;
        assert!(sum <= all + 1, "{who}: times overlap: {line}");
        let takes = TAKES.as_millis() as i64;
        assert!(first >= takes - 1, "{who}: {line}");
        assert!(queue >= takes * i as i64 - 50 * i as i64, "{who}: {line}");
        assert_eq!(places(line), format!("0/{i}"), "{who}: {line}");
    }
    lines
}

#[test]
fn times_come_one_after_the_other_as_haproxys_do() {
    let _turn = beside_others();
    let slow = Origin::start(|request| {
        if request.target == "/slow" {
            thread::sleep(TAKES);
        }
        Reply::text("done")
    });
    let ours = format!(
        "default_backend = \"b\"\n\
         route = [{{ path_prefix = \"/moved\", redirect = {{ path = \"/x\" }} }}, \
         {{ path_prefix = \"/none\", backend = \"n\" }}]\n\
         [[backend]]\nname = \"b\"\ncheck = \"off\"\nsticky = \"off\"\nmaxconn = 1\n\
         timeouts = {{ queue = \"30s\" }}\nserver = [{{ name = \"s\", address = \"{0}\" }}]\n\
         [[backend]]\nname = \"n\"\ncheck = {{ tcp = true, every = \"100ms\" }}\nsticky = \"off\"\n\
         server = [{{ name = \"s\", address = \"{1}\" }}]\n",
        slow.address(),
        free_address(),
    );
    let theirs = format!(
        "  http-request redirect location /x if {{ path_beg /moved }}\n  use_backend n if {{ path_beg /none }}\n  \
         default_backend b\nbackend b\n  server s {} maxconn 1\n\
         backend n\n  server s {} check inter 100ms fall 1\n",
        slow.address(),
        free_address(),
    );
    let Some(pair) = Pair::start(&ours, &theirs) else {
        return;
    };
    four_at_once(pair.front);
    four_at_once(pair.ours.front);
    let theirs = judge("HAProxy", &pair.theirs);
    let ours = judge("Roundel", &pair.ours.process);
    halog_agrees(&ours, &theirs);

    // What no server saw: the same words but for date, client, time and length.
    for path in ["/moved", "/none"] {
        let words = [
            (pair.front, &pair.theirs),
            (pair.ours.front, &pair.ours.process),
        ]
        .map(|(front, process)| {
            get(front, path).unwrap();
            let lines = wait_lines(process, path, 1);
            let mut words: Vec<_> = lines[0].split(' ').map(str::to_owned).collect();
            words.remove(6);
            let all = words[4].rfind('/').unwrap();
            words[4].truncate(all);
            words.split_off(2)
        });
        assert_eq!(words[0], words[1], "{path}");
    }

    // Of heads that cannot be used, no time but the whole was reached.
    for head in [
        "GET / HTTP/1.1\r\nbad\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n",
    ] {
        let words = [
            (pair.front, &pair.theirs),
            (pair.ours.front, &pair.ours.process),
        ]
        .map(|(front, process)| {
            let before = bad_lines(process).len();
            let mut client = TcpStream::connect(front).unwrap();
            client.write_all(head.as_bytes()).unwrap();
            let whole = head.ends_with("\r\n\r\n");
            if !whole {
                client.shutdown(Shutdown::Write).unwrap();
            }
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).unwrap();
            let line = wait_for("a line", SOON, || {
                bad_lines(process).into_iter().nth(before)
            });
            let words: Vec<&str> = line.split(' ').collect();
            let times = words[4].rsplit_once('/').unwrap().0;
            // HAProxy answers 400 to half a head, `HAPROXY.md`.
            let status = if whole { words[5] } else { "" };
            [times, status, words[9]].map(str::to_owned)
        });
        assert_eq!(words[0], words[1], "{head}");
        assert_eq!(words[1][0], "-1/-1/-1/-1");
    }

    let csv = pair.ours.page("/;csv");
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let row = lines.find(|row| row[..2] == ["b", "s"]).unwrap();
    let [queue, connect, first, all] = ["qtime", "ctime", "rtime", "ttime"].map(|name| {
        let at = header.iter().position(|n| *n == name).unwrap();
        row[at].parse::<u64>().unwrap()
    });
    assert!(
        queue + connect + first <= all + 2,
        "{queue} {connect} {first} {all}"
    );
    assert!(queue > 0 && first > 0);
}

fn bad_lines(process: &Process) -> Vec<String> {
    let text = process.stdout();
    let bad = text.lines().filter(|line| line.contains("<BADREQ>"));
    bad.map(str::to_owned).collect()
}

/// halog finds the same requests queued, and the same counts per server.
fn halog_agrees(ours: &[String], theirs: &[String]) {
    let Some(halog) = external("halog", "haproxy") else {
        return;
    };
    // It expects what syslog puts before each line.
    let log = |lines: &[String]| {
        let line = |line: &String| format!("Feb  6 12:14:14 host haproxy[1]: {line}\n");
        lines.iter().map(line).collect::<String>()
    };
    let [ours, theirs] = [ours, theirs].map(log);
    let queued = |log: &str| output(&halog, &["-Q", "-c"], log).trim().to_owned();
    assert_eq!(queued(&ours), queued(&theirs));
    assert_eq!(queued(&ours), "3");
    let server = |log: &str| {
        let table = output(&halog, &["-srv"], log);
        let row = table.lines().find(|line| line.starts_with("b/s ")).unwrap();
        let words: Vec<_> = row.split_whitespace().map(str::to_owned).collect();
        words[..words.len() - 2].to_vec()
    };
    assert_eq!(server(&ours), server(&theirs));
}
