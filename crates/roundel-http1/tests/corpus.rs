//! Replays the committed fuzz corpora, so that what a fuzzer once found stays found.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[allow(dead_code)]
#[path = "../fuzz/properties.rs"]
mod properties;

fn replay(target: &str, property: fn(&[u8])) {
    let folder = format!("{}/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{folder}: {error}"))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 5, "{folder} holds {} files", files.len());
    for file in files {
        println!("{}", file.display());
        property(&std::fs::read(&file).unwrap());
    }
}

#[test]
fn requests() {
    replay("request", properties::request);
}

#[test]
fn answers() {
    replay("answer", properties::answer);
}

#[test]
fn cookies() {
    replay("cookie", properties::cookie);
}

#[test]
fn chunked_bodies() {
    replay("chunks", properties::chunks);
}

#[test]
fn proxy_protocol_headers() {
    replay("proxy_protocol", properties::proxy_protocol);
}
