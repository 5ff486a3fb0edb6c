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

/// Which tables name a key is the README's; that one does is what this holds it to.
#[test]
fn the_readme_names_every_key() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    let readme = fs::read_to_string(readme).expect("there is a README");
    let row = |table: &str| {
        let row = readme
            .lines()
            .find(|line| line.starts_with(&format!("| `{table}` |")));
        row.unwrap_or_else(|| panic!("no row {table}"))
    };
    let schema = roundel_config::schema();
    let keys = |table: &serde_json::Value| {
        let keys = table["properties"].as_object().expect("a table");
        keys.keys().cloned().collect::<Vec<_>>()
    };
    for name in keys(&schema) {
        let (header, table) = match schema["$defs"].get(&name) {
            Some(table) => (format!("[[{name}]]"), table),
            None => (format!("[{name}]"), &schema["properties"][&name]),
        };
        for key in keys(table) {
            let word = format!("`{key}`");
            let is_named = row(&header).contains(&word) || row("[defaults]").contains(&word);
            assert!(is_named, "{header} {key}");
        }
    }
}

#[test]
fn the_schema_is_what_the_keys_say() {
    let text = format!("{:#}\n", roundel_config::schema());
    is_checked_in("roundel.schema.json", &text);
}
