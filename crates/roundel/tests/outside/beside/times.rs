//! The times of the access log, and what halog makes of them.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use roundel_testkit::{Origin, Process, Reply, external, free_address, get};

use super::{Pair, output, wait_lines};
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
