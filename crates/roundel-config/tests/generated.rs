//! What is made of the descriptions of the keys: the example with all of them, the schema.
//!
//! `UPDATE=1 cargo test -p roundel-config --test generated` writes the files anew.

use std::fs;
use std::path::PathBuf;

/// The file of this name in `config` holds `text`.
fn is_checked_in(name: &str, text: &str) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config");
    let path = PathBuf::from(folder).join(name);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, text).expect("the folder can be written");
    }
    let found = fs::read_to_string(&path).expect("the file is checked in");
    assert!(
        found == text,
        "config/{name} is not what the keys say; UPDATE=1 writes it anew"
    );
}

#[test]
fn the_reference_is_what_the_keys_say() {
    is_checked_in("reference.toml", &roundel_config::reference());
}

#[test]
fn the_schema_is_what_the_keys_say() {
    let text = format!("{:#}\n", roundel_config::schema());
    is_checked_in("roundel.schema.json", &text);
}
