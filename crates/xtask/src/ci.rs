//! What a change must pass.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};

use crate::step::{command, root, run, target_directory};
use crate::{attack, chaos, lifecycle, soak};

/// Runs everything.
pub(crate) fn all() -> Result<()> {
    lint()?;
    run(&mut command("cargo", &["test", "--workspace"]))?;
    docs()
}

/// Format and clippy, warnings denied.
pub(crate) fn lint() -> Result<()> {
    run(&mut command("cargo", &["fmt", "--all", "--check"]))?;
    let clippy = "clippy --workspace --all-targets --locked -- -D warnings";
    run(&mut command("cargo", &words(clippy)))
}

/// Documentation with warnings denied, functions that LIFECYCLE.md names, and the example configurations through the program.
pub(crate) fn docs() -> Result<()> {
    let doc = "doc --workspace --no-deps --document-private-items --locked";
    run(command("cargo", &words(doc)).env("RUSTDOCFLAGS", "-D warnings"))?;
    lifecycle::check()?;
    examples()
}

/// Checks each example in a folder with the certificates that one of them has beside it.
fn examples() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let certificates = folder.path().join("certs");
    fs::create_dir(&certificates)?;
    let made = rcgen::generate_simple_self_signed(["www.example.org".to_owned()])?;
    let pem = made.cert.pem() + &made.signing_key.serialize_pem();
    let file = certificates.join("www.pem");
    fs::write(&file, pem)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    let mut examples = Vec::new();
    for entry in fs::read_dir(root().join("config")).context("the folder config")? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            let copy = folder
                .path()
                .join(path.file_name().context("a file has a name")?);
            fs::copy(&path, &copy)?;
            examples.push(copy);
        }
    }
    examples.sort();
    for example in examples {
        let mut check = command("cargo", &words("run --quiet -p roundel -- check -c"));
        run(check.arg(example))?;
    }
    Ok(())
}

/// Licences, sources and banned crates, advisories known by their version among them (`deny.toml`).
pub(crate) fn deny() -> Result<()> {
    run(&mut command(
        "cargo",
        &words("deny --locked --all-features check licenses bans sources"),
    ))
}

/// Every order of events between those who leave a full server and those who wait for a place.
pub(crate) fn loom() -> Result<()> {
    let model = "test --release -p roundel-balance --test loom --locked";
    let target = target_directory()?.join("loom");
    run(command("cargo", &words(model))
        .env("RUSTFLAGS", "--cfg loom")
        .env("CARGO_TARGET_DIR", target))
}

/// What takes too long for each change: hundreds of random sequences of orders, servers that die
/// under load for ten minutes, memory after a million requests, what strangers can do.
pub(crate) fn long() -> Result<()> {
    let sequences = "test -p roundel --test outside --locked -- sequences";
    run(command("cargo", &words(sequences)).env("ROUNDEL_SEQUENCES", "200"))?;
    chaos::run(&["--minutes", "10", "--peer", "haproxy"])?;
    soak::run(&[])?;
    attack::run(&["--short"])
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}
