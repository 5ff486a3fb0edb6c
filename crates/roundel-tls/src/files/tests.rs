use std::fs::{create_dir_all, write};
use std::os::unix::fs::symlink;

use super::*;
use crate::tests::mint::{Authority, ECDSA};

/// A folder and who signs what lies there.
struct Stage {
    folder: tempfile::TempDir,
    authority: Authority,
}

impl Stage {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            authority: Authority::new("test"),
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    /// A certificate for `host` in files of these names, the same one for all in one.
    fn put(&self, host: &str, chain: &str, key: &str) {
        let (leaf, secret) = self.authority.issue(&[host], ECDSA);
        match chain == key {
            true => write(self.at(chain), leaf + &secret).unwrap(),
            false => {
                write(self.at(chain), leaf).unwrap();
                write(self.at(key), secret).unwrap();
            }
        }
    }

    fn names(&self, paths: &[&str]) -> Vec<String> {
        let paths: Vec<_> = paths.iter().map(|path| self.at(path)).collect();
        let found = load(&paths).unwrap();
        let first = found.iter().map(|found| found.names()[0].clone());
        first.collect()
    }

    fn refusals(&self, path: &str) -> Vec<String> {
        let refused = load(&[self.at(path)]).unwrap_err();
        let root = format!("{}/", self.folder.path().display());
        let lines = refused.iter().map(|r| r.to_string().replace(&root, ""));
        lines.collect()
    }
}

#[test]
fn files_and_folders_are_read_in_order() {
    let stage = Stage::new();
    stage.put("b", "certs/b.pem", "certs/b.pem");
    stage.put("a", "certs/a.crt", "certs/a.key");
    stage.put("c", "certs/c.pem", "certs/c.key");
    stage.put("d", "certs/d/fullchain.pem", "certs/d/privkey.pem");
    stage.put("e", "certs/e/tls.crt", "certs/e/tls.key");
    stage.put("f", "certs/f/one.pem", "certs/f/one.pem");
    stage.put(
        "g",
        "certs/live/g/fullchain.pem",
        "certs/live/g/privkey.pem",
    );
    stage.put("hidden", "certs/.hidden.pem", "certs/.hidden.pem");
    for other in [
        "README",
        "a.txt",
        "d/cert.pem",
        "d/chain.pem",
        "f/deeper/x.pem",
    ] {
        write(stage.at(&format!("certs/{other}")), "no certificate").unwrap();
    }
    assert_eq!(stage.names(&["certs"]), ["a", "b", "c", "d", "e", "f", "g"]);
    // The first of the first path is the default.
    let some = ["certs/c.pem", "certs/d/fullchain.pem", "certs/e", "certs"];
    assert_eq!(stage.names(&some), ["c", "d", "e", "a", "b", "f", "g"]);
}

#[test]
fn what_certbot_leaves_is_followed_through_its_links() {
    let stage = Stage::new();
    let (old, new) = ("archive/www", "live/www");
    stage.put(
        "old",
        &format!("{old}/fullchain1.pem"),
        &format!("{old}/privkey1.pem"),
    );
    stage.put(
        "new",
        &format!("{old}/fullchain2.pem"),
        &format!("{old}/privkey2.pem"),
    );
    write(stage.at("live/README"), "This directory contains your keys").unwrap();
    write(stage.at("archive/www/cert1.pem"), "").unwrap();
    let link = |number: u8| {
        for name in ["fullchain", "privkey", "cert"] {
            let link = stage.at(&format!("{new}/{name}.pem"));
            let _ = fs::remove_file(&link);
            symlink(format!("../../{old}/{name}{number}.pem"), link).unwrap();
        }
    };
    link(1);
    assert_eq!(stage.names(&["live"]), ["old"]);
    let before = trace(&[stage.at("live")]);
    assert_eq!(trace(&[stage.at("live")]), before);
    link(2);
    assert_ne!(trace(&[stage.at("live")]), before);
    assert_eq!(stage.names(&["live"]), ["new"]);
}

#[test]
fn every_change_is_traced() {
    let stage = Stage::new();
    stage.put("a", "certs/a.crt", "certs/a.key");
    let traced = || trace(&[stage.at("certs")]);
    let mut before = traced();
    let mut changed = |what: &str| {
        let after = traced();
        assert_ne!(after, before, "{what}");
        before = after;
    };
    stage.put("a", "certs/a.crt", "other/a.key");
    changed("another chain");
    fs::rename(stage.at("other/a.key"), stage.at("certs/a.key")).unwrap();
    changed("another key");
    stage.put("b", "certs/b.pem", "certs/b.pem");
    changed("another certificate");
    fs::remove_dir_all(stage.at("certs")).unwrap();
    changed("nothing");
}

#[test]
fn whatever_is_no_good_is_told_with_its_file() {
    let stage = Stage::new();
    assert_eq!(
        stage.refusals("none"),
        ["none: it cannot be read: No such file or directory (os error 2)"]
    );
    create_dir_all(stage.at("empty")).unwrap();
    write(stage.at("empty/README"), "").unwrap();
    assert_eq!(
        stage.refusals("empty"),
        ["empty: there is no certificate in it"]
    );
    stage.put("a", "certs/a.crt", "certs/a.key");
    stage.put("b", "certs/b.crt", "elsewhere/b.key");
    stage.put("c", "certs/c.crt", "elsewhere/c.key");
    stage.put("d", "certs/d/fullchain.pem", "elsewhere/d.key");
    fs::rename(stage.at("elsewhere/b.key"), stage.at("certs/c.key")).unwrap();
    assert_eq!(
        stage.refusals("certs"),
        [
            "certs/b.crt: it holds no private key",
            "certs/c.key: its private key belongs to another certificate",
            "certs/d/privkey.pem: it cannot be read: No such file or directory (os error 2)",
        ]
    );
}
