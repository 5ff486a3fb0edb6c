//! Runs the committed fuzz inputs through the functions that the fuzzer calls.

use std::path::PathBuf;

#[path = "../../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "there it is the interface of a library")]
pub(crate) mod fuzz;

/// Runs every file of one target; returns how many there were.
fn replay(target: &str, run: fn(&[u8])) -> usize {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for file in &files {
        println!("{}", file.display());
        run(&std::fs::read(file).unwrap());
    }
    files.len()
}

#[test]
fn packets() {
    assert!(replay("packet", fuzz::packet) >= 20);
}

#[test]
fn streams() {
    assert!(replay("stream", fuzz::stream) >= 10);
}

#[test]
fn values() {
    assert!(replay("value", fuzz::value) >= 10);
}

#[test]
fn operations() {
    assert!(replay("node", fuzz::node::run) >= 4);
}
