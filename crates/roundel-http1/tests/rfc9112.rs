//! RFC 9112 (and what RFC 9110 adds) rule by rule, from the tables in `rfc9112/`.
//!
//! A row is `input => words`. The input is escaped as in a Rust byte string; `{200*a}` repeats. The
//! first word is `ok`, `partial` or `STATUS reason`; every further word must be among those that describe what
//! was found. `[words]` in front of the input choose how it is read. Each row is read whole, byte by byte and cut in two
//! everywhere, and what is accepted is also written and read back.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[allow(dead_code)]
#[path = "../fuzz/properties.rs"]
mod properties;

use properties::{decode, drip, parse_answer, parse_request};
use roundel_http1::{
    Block, Edits, Form, Framing, Limits, Method, Persist, RequestHead, RequestPlan, ResponseHead,
    ResponsePlan, write_request, write_response,
};

/// One row of a table.
struct Row {
    place: String,
    options: Vec<String>,
    input: Vec<u8>,
    expected: String,
}

fn rows(file: &str) -> Vec<Row> {
    let path = format!("{}/tests/rfc9112/{file}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let mut rows = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with("# ") {
            continue;
        }
        let place = format!("{file}.txt:{}: {line}", number + 1);
        let (input, expected) = line
            .rsplit_once(" => ")
            .unwrap_or_else(|| panic!("{place}: no arrow"));
        let (options, input) = match input
            .strip_prefix('[')
            .and_then(|rest| rest.split_once("] "))
        {
            Some((options, input)) => (options.split(' ').map(str::to_owned).collect(), input),
            None => (Vec::new(), input),
        };
        rows.push(Row {
            place,
            options,
            input: unescape(input),
            expected: expected.to_owned(),
        });
    }
    assert!(rows.len() > 5, "{file}.txt holds {} rows", rows.len());
    rows
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if let Some(repeat) = rest
            .strip_prefix('{')
            .and_then(|r| r.split_once('}'))
            .and_then(|(r, _)| r.split_once('*'))
            && let Ok(count) = repeat.0.parse::<usize>()
        {
            let unit = unescape(repeat.1);
            out.extend(unit.repeat(count));
            rest = &rest[repeat.0.len() + repeat.1.len() + 3..];
            continue;
        }
        let (byte, used) = match rest.as_bytes() {
            [b'\\', b'r', ..] => (b'\r', 2),
            [b'\\', b'n', ..] => (b'\n', 2),
            [b'\\', b't', ..] => (b'\t', 2),
            [b'\\', b'\\', ..] => (b'\\', 2),
            [b'\\', b'x', ..] => (u8::from_str_radix(&rest[2..4], 16).unwrap(), 4),
            [byte, ..] => (*byte, 1),
            [] => unreachable!("{next} is there"),
        };
        out.push(byte);
        rest = &rest[used..];
    }
    out
}

fn limits(options: &[String]) -> Limits {
    let mut limits = properties::limits();
    for option in options {
        match option.as_str() {
            "strict" => limits.strict_target = true,
            "same-host" => limits.refuse_host_mismatch = true,
            _ => {}
        }
    }
    limits
}

/// Compares what was found with the words of a row.
fn check(row: &Row, found: &str) {
    let words: Vec<&str> = found.split(' ').collect();
    let mut expected = row.expected.split(' ');
    assert_eq!(
        Some(words[0]),
        expected.next(),
        "{}\n found: {found}",
        row.place
    );
    for word in expected {
        assert!(
            words.contains(&word),
            "{}\n no {word} in: {found}",
            row.place
        );
    }
}

fn show(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    if text.is_empty() {
        "-".to_owned()
    } else {
        text.replace(' ', "\\s")
    }
}

fn framing(framing: Framing) -> String {
    match framing {
        Framing::Empty => "empty".to_owned(),
        Framing::Length(length) => format!("length={length}"),
        Framing::Chunked => "chunked".to_owned(),
        Framing::UntilClose => "until-close".to_owned(),
        Framing::Frames => "frames".to_owned(),
    }
}

/// Cuts to try for one input: none, every byte, and each single one while that stays cheap.
fn all_cuts(input: &[u8]) -> Vec<Vec<usize>> {
    let mut cuts = vec![Vec::new(), drip(input)];
    if input.len() < 300 {
        cuts.extend((1..input.len()).map(|at| vec![at]));
    }
    cuts
}

fn describe_request(input: &[u8], cuts: &[usize], limits: &Limits) -> String {
    let mut head = RequestHead::new();
    let used = match parse_request(&mut head, input, cuts, limits) {
        Err(reason) => return format!("{} {reason}", reason.status()),
        Ok(None) => return "partial".to_owned(),
        Ok(Some((used, _))) => used,
    };
    let form = match head.form() {
        Form::Origin => "origin",
        Form::Absolute => "absolute",
        Form::Authority => "authority",
        Form::Asterisk => "asterisk",
    };
    let mut found = format!(
        "ok {} {form} {} path={} query={} host={} {} {} left={}",
        head.method().as_str(),
        head.version().as_str(),
        show(head.path()),
        head.query().map_or("none".to_owned(), show),
        head.host().map_or("none".to_owned(), show),
        framing(head.framing()),
        if head.keep_alive() { "keep" } else { "close" },
        input.len() - used,
    );
    for (word, is_so) in [
        ("upgrade", head.upgrade().is_some()),
        ("expects", head.expects_continue()),
        ("names", head.connection().names_fields),
        ("trailers", head.takes_trailers()),
    ] {
        let no = if is_so { "" } else { "no-" };
        found.push_str(&format!(" {no}{word}"));
    }
    for line in head.fields().iter() {
        found.push_str(&format!(" {}={}", show(line.name), show(line.value)));
    }
    found
}

fn check_requests(file: &str) {
    for row in rows(file) {
        let limits = limits(&row.options);
        for cuts in all_cuts(&row.input) {
            check(&row, &describe_request(&row.input, &cuts, &limits));
        }
        properties::request(&row.input);
    }
}

#[test]
fn request_lines() {
    check_requests("request_line");
}

#[test]
fn fields() {
    check_requests("fields");
}

#[test]
fn hosts() {
    check_requests("host");
}

#[test]
fn request_framing() {
    check_requests("request_framing");
}

#[test]
fn connections() {
    check_requests("connection");
}

fn describe_answer(input: &[u8], cuts: &[usize], method: Method) -> String {
    let mut head = ResponseHead::new();
    let used = match parse_answer(&mut head, input, cuts, &properties::limits(), method) {
        Err(reason) => return format!("502 {reason}"),
        Ok(None) => return "partial".to_owned(),
        Ok(Some((used, _))) => used,
    };
    let mut found = format!(
        "ok {} {} phrase={} {} {} left={}",
        head.status(),
        head.version().as_str(),
        show(head.phrase()),
        framing(head.framing()),
        if head.keep_alive() { "keep" } else { "close" },
        input.len() - used,
    );
    for (word, is_so) in [
        ("interim", head.is_interim()),
        ("switching", head.is_switching()),
    ] {
        let no = if is_so { "" } else { "no-" };
        found.push_str(&format!(" {no}{word}"));
    }
    if let Some(seconds) = head.keep_alive_timeout() {
        found.push_str(&format!(" idle={seconds}"));
    }
    for line in head.fields().iter() {
        found.push_str(&format!(" {}={}", show(line.name), show(line.value)));
    }
    found
}

#[test]
fn answers() {
    for row in rows("answers") {
        let method = row
            .options
            .first()
            .map_or(Method::Get, |name| Method::of(name.as_bytes()));
        for cuts in all_cuts(&row.input) {
            check(&row, &describe_answer(&row.input, &cuts, method));
        }
        properties::answer(&row.input);
    }
}

#[test]
fn chunked_bodies() {
    for row in rows("chunks") {
        for cuts in all_cuts(&row.input) {
            let (body, end) = decode(&row.input, &cuts, &properties::limits());
            let found = match end {
                Err(reason) => format!("{} {reason}", reason.status()),
                Ok(None) => format!("partial {}", show(&body)),
                Ok(Some((used, trailers))) => {
                    let mut found = format!("ok {} left={}", show(&body), row.input.len() - used);
                    found.push_str(&format!(" trailers={}", trailers.len()));
                    for (name, value) in trailers {
                        found.push_str(&format!(" {}={}", show(&name), show(&value)));
                    }
                    found
                }
            };
            check(&row, &found);
        }
        properties::chunks(&row.input);
    }
}

fn persist(options: &[String]) -> Persist {
    match options
        .iter()
        .find_map(|option| option.strip_prefix("persist="))
    {
        Some("close") => Persist::Close,
        Some("keep-alive") => Persist::KeepAlive,
        Some("upgrade") => Persist::Upgrade,
        Some(other) => panic!("no such persistence: {other}"),
        None => Persist::Silent,
    }
}

/// Rewrites a request as a proxy without policy would.
fn rewritten_request(row: &Row) -> Vec<u8> {
    let mut head = RequestHead::new();
    let limits = Limits {
        refuse_host_mismatch: false,
        ..Limits::default()
    };
    let parsed = parse_request(&mut head, &row.input, &[], &limits);
    assert!(matches!(parsed, Ok(Some(_))), "{}: {parsed:?}", row.place);
    let mut edits = Edits::new();
    if head.connection().names_fields {
        edits.remove_connection_named(head.fields());
    }
    let plan = RequestPlan {
        fallback_host: b"fallback",
        persist: persist(&row.options),
        te_trailers: head.takes_trailers(),
        ..RequestPlan::new(&head)
    };
    let mut out = Block::new();
    write_request(&head, &plan, &edits, &mut out);
    out.filled().to_vec()
}

/// Rewrites an answer as a proxy without policy would.
fn rewritten_answer(row: &Row) -> Vec<u8> {
    let mut head = ResponseHead::new();
    let method = if row.options.iter().any(|option| option == "HEAD") {
        Method::Head
    } else {
        Method::Get
    };
    let parsed = parse_answer(&mut head, &row.input, &[], &Limits::default(), method);
    assert!(matches!(parsed, Ok(Some(_))), "{}: {parsed:?}", row.place);
    let mut edits = Edits::new();
    if head.connection().names_fields {
        edits.remove_connection_named(head.fields());
    }
    let plan = ResponsePlan {
        framing: head.framing(),
        persist: persist(&row.options),
    };
    let mut out = Block::new();
    write_response(&head, &plan, &edits, &mut out);
    out.filled().to_vec()
}

#[test]
fn rewriting() {
    for row in rows("rewriting") {
        let is_answer = row.input.starts_with(b"HTTP/");
        let written = if is_answer {
            rewritten_answer(&row)
        } else {
            rewritten_request(&row)
        };
        let expected = unescape(&row.expected);
        assert_eq!(
            written.escape_ascii().to_string(),
            expected.escape_ascii().to_string(),
            "{}",
            row.place
        );
    }
}
