//! Heads, header rules, cookies, chunks.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use roundel_http1::{
    Block, ChunkDecoder, Decoded, Edits, Known, Limits, Method, Progress, RequestHead, RequestPlan,
    ResponseHead, cookie, write_request,
};

const SMALL: &[u8] = b"GET /128 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";

const BROWSER: &[u8] = b"GET /shop/items?page=2 HTTP/1.1\r\nHost: www.example.org\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: fr-CH,fr;q=0.8,en-US;q=0.5,en;q=0.3\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\nDNT: 1\r\nSec-GPC: 1\r\n\
    Upgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: same-origin\r\nSec-Fetch-User: ?1\r\nPriority: u=0, i\r\n\
    Referer: http://www.example.org/shop/items?page=1\r\n\
    Cookie: theme=dark; SERVERID=0123456789abcdef; lang=fr\r\n\r\n";

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: origin\r\n\
    Date: Sun, 01 Nov 2026 08:49:37 GMT\r\nContent-Type: text/plain\r\nX-Backend: b1\r\n\
    Content-Length: 128\r\n\r\n";

pub(crate) fn run(criterion: &mut Criterion) {
    heads(criterion);
    rules(criterion);
    cookies(criterion);
    chunks(criterion);
}

fn heads(criterion: &mut Criterion) {
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("parse a head");
    for (name, bytes) in [("request, small", SMALL), ("request, browser", BROWSER)] {
        let mut head = RequestHead::new();
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                head.reset();
                head.block.clear();
                head.block.put(black_box(bytes));
                assert_eq!(head.parse(&limits), Ok(Progress::Complete));
            });
        });
    }
    let mut head = ResponseHead::new();
    group.throughput(Throughput::Bytes(ANSWER.len() as u64));
    group.bench_function("answer", |b| {
        b.iter(|| {
            head.reset();
            head.block.clear();
            head.block.put(black_box(ANSWER));
            assert_eq!(head.parse(&limits, Method::Get), Ok(Progress::Complete));
        });
    });
}

/// What a proxy changes in a request, decided as edits and written out.
fn rules(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("header rules and writing");
    for (name, bytes) in [("small", SMALL), ("browser", BROWSER)] {
        let head = parsed(bytes);
        let mut edits = Edits::new();
        let mut out = Block::with_capacity(4096);
        group.bench_function(name, |b| {
            b.iter(|| {
                edits.clear();
                out.clear();
                forward(&head, &mut edits);
                write_request(&head, &RequestPlan::new(&head), &edits, &mut out);
                black_box(out.len())
            });
        });
    }
}

fn forward(head: &RequestHead, edits: &mut Edits) {
    let fields = head.fields();
    edits.remove_connection_named(fields);
    let told: [(Known, &[u8]); 4] = [
        (Known::XForwardedFor, b"192.0.2.1"),
        (Known::XForwardedProto, b"http"),
        (Known::XForwardedPort, b"8080"),
        (Known::XForwardedHost, head.host().unwrap_or_default()),
    ];
    for (known, value) in told {
        edits.remove_all(fields, known);
        edits.append_known(known, &[value]);
    }
    edits.append_known(Known::Via, &[b"1.1 roundel"]);
}

fn cookies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cookie");
    let head = parsed(BROWSER);
    let line = head.fields().first(Known::Cookie);
    let line = line.expect("the browser sends cookies");
    let mut rest = Vec::with_capacity(512);
    group.bench_function("find and hide the sticky one of 3", |b| {
        b.iter(|| {
            rest.clear();
            let mut found = None;
            let seen = |value| found = Some(value);
            assert_eq!(
                cookie::remove(black_box(line), b"SERVERID", &mut rest, seen),
                1
            );
            found
        });
    });
}

fn chunks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode 64 KiB in chunks of");
    group.throughput(Throughput::Bytes(64 << 10));
    for size in [64usize, 1024, 16 << 10] {
        let mut body = Vec::new();
        for _ in 0..(64 << 10) / size {
            body.extend_from_slice(format!("{size:x}\r\n").as_bytes());
            body.resize(body.len() + size, b'x');
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\n\r\n");
        group.bench_function(size.to_string(), |b| {
            b.iter_batched(
                || ChunkDecoder::new(&Limits::default()),
                |mut decoder| assert_eq!(decode(&mut decoder, &body), 64 << 10),
                BatchSize::SmallInput,
            );
        });
    }
}

/// Bytes of data in a whole body.
fn decode(decoder: &mut ChunkDecoder, mut rest: &[u8]) -> usize {
    let mut data = 0;
    loop {
        match decoder.decode(rest).expect("the body is well formed") {
            Decoded::Data { skip, len } => {
                data += len;
                decoder.took(len);
                rest = &rest[skip + len..];
            }
            Decoded::End { .. } => return data,
            Decoded::More { skip } => rest = &rest[skip..],
        }
    }
}

fn parsed(bytes: &[u8]) -> RequestHead {
    let mut head = RequestHead::new();
    head.block.put(bytes);
    assert_eq!(head.parse(&Limits::default()), Ok(Progress::Complete));
    head
}
