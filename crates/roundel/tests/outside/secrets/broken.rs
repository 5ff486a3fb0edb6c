//! Files that are broken: what is told of them tells nothing of what is in them.

use std::fs;

use super::output;
use super::stage::{Secrets, Stage};

/// A file, and what is done to it.
type Break = (&'static str, fn(&str) -> String);

/// Something that nobody else says, in place of what should be there.
const OTHER: &str = "another-secret-5b7e19";

const BREAKS: &[Break] = &[
    ("front.pem", |pem| pem[..pem.len() - 60].to_owned()),
    // As a variable that lost its line ends.
    ("front.pem", |pem| pem.replace('\n', "")),
    ("front.pem", |pem| pem.replace('\n', " ")),
    ("front.pem", |pem| {
        pem.replacen("END PRIVATE", "END PUBLIC", 1)
    }),
    ("front.pem", |pem| {
        pem.replacen("BEGIN PRIVATE KEY-----\n", "BEGIN PRIVATE KEY-----", 1)
    }),
    ("front.pem", |pem| {
        pem.replacen("BEGIN PRIVATE KEY-----\n", "BEGIN PRIVATE KEY-----\n*", 1)
    }),
    ("front.pem", |pem| {
        pem.replace("PRIVATE KEY", "RSA PRIVATE KEY")
    }),
    ("front.pem", |pem| pem.replace("PRIVATE KEY", "CERTIFICATE")),
    ("client.pem", |pem| pem.replace('\n', "")),
    ("page.pem", |pem| pem[..pem.len() - 60].to_owned()),
    ("gossip", |_| OTHER.to_owned()),
    ("gossip", |key| key[..20].to_owned()),
    ("keys.json", |_| format!("\"{OTHER}\"")),
    ("keys.json", |_| format!("[\"{OTHER}\"]")),
    ("keys.json", |_| format!("{{\"{OTHER}\": 1}}")),
    ("keys.json", |_| OTHER.to_owned()),
    ("admin", |_| OTHER[..13].to_owned()),
    ("users", |_| format!("ada:{OTHER}\n")),
    ("users", |_| format!("{OTHER}\n")),
    ("users", |text| text.replacen("$2b$04$x5o", "$2b$04$=5o", 1)),
    ("users", |text| text.replacen("$2b$04$", "$argon2id$", 1)),
    ("roundel.toml", |text| {
        text.replace("cookie = \"S\"", "cookie = \"a b\"")
    }),
    ("roundel.toml", |text| {
        text.replace("{ cookie = \"S\", key", "{ cookies = \"S\", key")
    }),
    ("roundel.toml", |text| {
        text.replace("cookie = \"S\", key =", "cookie = \"S\", key = 5 #")
    }),
    ("roundel.toml", |text| {
        text.replace("\" }\nserver", " }\nserver")
    }),
    ("roundel.toml", |text| {
        text.replace("key_file = ", &format!("key = \"{OTHER}\" #"))
    }),
    ("roundel.toml", |text| {
        text.replace(
            "admin_token_file = ",
            &format!("admin_token = \"{OTHER}\" #"),
        )
    }),
    ("roundel.toml", |text| {
        text.replace("admin_token_file = ", &format!("admin_token = '{OTHER}' #"))
    }),
    ("roundel.toml", |text| {
        text.replace("admin = \"token\"", &format!("password = \"{OTHER}"))
    }),
];

#[test]
fn no_error_holds_a_secret() {
    let stage = Stage::new(None);
    let users = format!("users_file = {:?}", stage.at("users"));
    let mut other = Secrets::default();
    other.text("what was written instead", OTHER);
    other.text("a piece of it", &OTHER[..13]);
    let mut silent = Vec::new();
    stage.configure("json", &users);
    let check = || {
        let path = stage.file();
        output(&["check", "--print", "-c", path.to_str().unwrap()])
    };
    let told = String::from_utf8(check()).unwrap();
    assert!(!told.contains("error: "), "{told}");
    for (number, (file, change)) in BREAKS.iter().enumerate() {
        stage.configure("json", &users);
        stage.put("keys.json", "");
        fs::remove_file(stage.at("keys.json")).unwrap();
        let before = fs::read_to_string(stage.at(file)).unwrap_or_default();
        let broken = change(&before);
        assert_ne!(broken, before, "{number}: nothing changes in {file}");
        stage.put(file, &broken);
        let told = check();
        let place = format!("{number}: what is told of {file}");
        stage.secrets.search(&place, &told);
        other.search(&place, &told);
        let told = String::from_utf8_lossy(&told).into_owned();
        if !told.contains("error: ") && *file != "keys.json" {
            silent.push(format!("{place}: {told}"));
        }
        stage.put(file, &before);
    }
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}
