//! Replays the fuzz corpus of configurations and the examples.

#[path = "../fuzz/properties.rs"]
mod properties;

fn replay(folder: &str, least: usize) {
    let folder = format!("{}/{folder}", env!("CARGO_MANIFEST_DIR"));
    let entries = std::fs::read_dir(&folder);
    let entries = entries.unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    assert!(files.len() >= least, "{folder} holds {} files", files.len());
    for file in files {
        println!("{}", file.display());
        let bytes = std::fs::read(&file).unwrap_or_default();
        properties::config(&bytes);
    }
}

#[test]
fn configurations() {
    replay("fuzz/corpus/config", 5);
    replay("../../config", 2);
}
