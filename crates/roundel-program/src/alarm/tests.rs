use std::sync::Arc;

use super::*;

const RULES: AlarmRules = AlarmRules {
    warning: 1,
    critical: 10,
    min_requests: 20,
    latency: Duration::from_millis(250),
    latency_factor: 4,
    queue: 50,
};

/// 00:12:03 of some day.
const BEGUN: u64 = 20_000 * 86_400 + 12 * 60 + 3;

/// A backend whose second passes by hand.
struct Bench {
    alarms: Alarms,
    backend: Backend,
    second: u64,
}

impl Bench {
    /// With two servers, and a second behind it.
    fn new() -> Self {
        let server = |id: u32, name: &str| {
            let server = Server {
                id,
                name: name.into(),
                state: ServerState::Up,
                ..Server::default()
            };
            Arc::new(server)
        };
        let mut bench = Self {
            alarms: Alarms::default(),
            backend: Backend {
                name: "nodes".to_owned(),
                servers: vec![server(1, "a"), server(2, "b")],
                ..Backend::default()
            },
            second: 0,
        };
        assert_eq!(bench.pass(), []);
        bench
    }

    fn pass(&mut self) -> Vec<Change> {
        let at = (Duration::from_secs(self.second), BEGUN - 1 + self.second);
        self.second += 1;
        let backends = std::slice::from_ref(&self.backend);
        let patience = |_: &str| Duration::from_secs(4);
        self.alarms.second(at, &RULES, backends, patience)
    }

    fn answer(&mut self, good: u64, bad: u64) {
        self.backend.traffic.responses_total[1] += good;
        self.backend.traffic.responses_total[4] += bad;
    }

    fn server(&mut self, at: usize) -> &mut Server {
        Arc::make_mut(&mut self.backend.servers[at])
    }

    fn latency(&mut self, bucket: usize, count: u64) {
        self.backend.request_duration.buckets[bucket] += count;
    }

    /// The one sentence that has begun in this second.
    fn begun(&mut self) -> (bool, String) {
        match &self.pass()[..] {
            [Change::Begun(alarm)] => (alarm.critical, alarm.text.clone()),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn errors_warn_at_one_in_a_hundred_and_are_critical_at_ten() {
    let mut bench = Bench::new();
    bench.answer(100, 0);
    assert_eq!(bench.pass(), []);
    bench.answer(98, 2);
    let text = "1.0 % of answers are errors (1/s since 00:12:04 UTC)";
    assert_eq!(bench.begun(), (false, text.to_owned()));
    bench.answer(0, 30);
    let (critical, text) = bench.begun();
    assert!(critical, "{text}");
    assert!(text.ends_with("since 00:12:04 UTC)"), "{text}");
    // As long as it lasts nothing is said again.
    bench.answer(0, 30);
    assert_eq!(bench.pass(), []);
    assert_eq!(bench.alarms.open().len(), 1);
}

#[test]
fn few_requests_raise_nothing() {
    let mut bench = Bench::new();
    bench.answer(0, 19);
    assert_eq!(bench.pass(), []);
    bench.answer(0, 1);
    let text = "100 % of answers are errors (10/s since 00:12:04 UTC)";
    assert_eq!(bench.begun(), (true, text.to_owned()));
}

#[test]
fn an_alarm_ends_ten_seconds_after_its_last_reason() {
    let mut bench = Bench::new();
    bench.answer(0, 100);
    let (_, text) = bench.begun();
    let mut quiet = 0;
    let (ended, lasted) = loop {
        bench.answer(10_000, 0);
        quiet += 1;
        match &bench.pass()[..] {
            [] => {}
            [Change::Ended(alarm, lasted)] => break (alarm.text.clone(), *lasted),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((quiet, lasted), (10, Duration::ZERO));
    assert_eq!(ended, text);
    assert_eq!(bench.alarms.open(), []);
}

#[test]
fn the_server_that_all_errors_come_from_is_named() {
    let mut bench = Bench::new();
    bench.answer(60, 40);
    bench.server(1).traffic.responses_total[4] = 40;
    let (_, text) = bench.begun();
    assert_eq!(
        text,
        "40 % of answers are errors, from b (40/s since 00:12:03 UTC)"
    );
}

#[test]
fn a_backend_without_a_server_that_is_asked_is_critical_at_the_first_refusal() {
    let mut bench = Bench::new();
    bench.backend.servers.clear();
    assert_eq!(bench.pass(), [], "nobody asks");
    bench.backend.no_server_total = 3;
    bench.answer(0, 3);
    let text = "no server serves, and clients get 503 (1/s since 00:12:04 UTC)";
    assert_eq!(bench.begun(), (true, text.to_owned()));
}

#[test]
fn waiting_for_half_of_the_patience_warns_and_giving_up_is_critical() {
    let mut bench = Bench::new();
    // 1 s to 2.5 s.
    bench.backend.queue_duration.buckets[11] = 30;
    bench.backend.queue_length = 7;
    let text = "requests wait 2.5 s for a server that has room (7 wait since 00:12:03 UTC)";
    assert_eq!(bench.begun(), (false, text.to_owned()));
    bench.backend.queue_timeouts_total = 1;
    assert!(bench.begun().0);
}

#[test]
fn latency_is_measured_by_the_hour_before() {
    let mut bench = Bench::new();
    for _ in 0..12 {
        bench.latency(3, 50);
        assert_eq!(bench.pass(), []);
    }
    // Half a second to a second, beside 5 ms.
    bench.latency(10, 40);
    let (critical, text) = bench.begun();
    assert!(!critical);
    assert!(
        text.starts_with("p99 is ") && text.contains(" times the last hour's 5 ms"),
        "{text}"
    );
}

#[test]
fn a_server_that_stops_to_answer_is_named() {
    let mut bench = Bench::new();
    for _ in 0..5 {
        bench.server(0).requests_total += 5;
        bench.server(0).traffic.responses_total[1] += 5;
        assert_eq!(bench.pass(), []);
    }
    let text = loop {
        bench.server(0).requests_total += 5;
        bench.server(0).in_flight += 5;
        match &bench.pass()[..] {
            [] => assert!(bench.second < 12),
            [Change::Begun(alarm)] => break alarm.text.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        text,
        "a answers nothing (15 requests wait since 00:12:10 UTC)"
    );
}

/// A call that fails by an answer of 5xx is counted by its status and by its code, and is one error.
#[test]
fn a_call_that_fails_is_one_error() {
    let mut bench = Bench::new();
    bench.answer(95, 5);
    bench.backend.grpc_calls_total.insert("14".to_owned(), 5);
    let (critical, text) = bench.begun();
    assert!(!critical && text.starts_with("5.0 % of answers"), "{text}");
    bench.backend.grpc_errors_total = 10;
    assert!(bench.begun().0);
}

#[test]
fn what_was_critical_stays_so_until_it_ends() {
    let mut bench = Bench::new();
    bench.answer(0, 100);
    assert!(bench.begun().0);
    // One in twenty by now.
    bench.answer(1900, 0);
    assert_eq!(bench.pass(), []);
    let open = bench.alarms.open();
    assert!(
        open[0].critical && open[0].text.starts_with("5.0 %"),
        "{open:?}"
    );
}

#[test]
fn errors_of_two_servers_name_neither() {
    let mut bench = Bench::new();
    bench.answer(0, 40);
    bench.server(0).traffic.responses_total[4] = 15;
    bench.server(1).traffic.responses_total[4] = 25;
    assert_eq!(
        bench.begun().1,
        "100 % of answers are errors (40/s since 00:12:03 UTC)"
    );
}

#[test]
fn polls_that_nobody_has_answered_yet_are_no_stall() {
    let mut bench = Bench::new();
    for _ in 0..12 {
        bench.server(0).requests_total += 5;
        bench.server(0).in_flight += 5;
        assert_eq!(bench.pass(), []);
    }
}
