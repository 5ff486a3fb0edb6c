//! Each fuzz target for a fixed number of runs, from its corpus, with the ordinary toolchain.
//!
//! The coverage that libFuzzer steers by comes from a pass of LLVM that stable compilers carry too.
//! There is no sanitizer for memory: nothing of ours is `unsafe`, and what a target asserts does not
//! need one. For a long run, or one with a sanitizer, `cargo fuzz` works in the same folders.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::step::{command, output, root, run, target_directory};

/// The crates that have fuzz targets.
const CRATES: [&str; 3] = ["roundel-http1", "roundel-gossip", "roundel-config"];

/// Runs of a target in the gate: a few seconds each.
const RUNS: u32 = 20_000;

/// The seconds after which a target of the gate ends, however many runs it had.
const SECONDS: u32 = 20;

/// What `cargo fuzz` builds with, less the sanitizer.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                     -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions";

/// Builds and runs every target. Errors: a build fails, or a target finds an input.
pub(crate) fn run_all() -> Result<()> {
    let host = output(&mut command("rustc", &["-vV"]))?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc names its host")?;
    let target = target_directory()?.join("fuzz");
    for name in CRATES {
        let folder = root().join("crates").join(name).join("fuzz");
        let mut build = command("cargo", &["build", "--release", "--bins", "--target", host]);
        build
            .current_dir(&folder)
            .env("RUSTFLAGS", FLAGS)
            // The build would take longer than the runs.
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
            .env("CARGO_TARGET_DIR", &target);
        run(&mut build)?;
        for case in targets(&folder)? {
            let binary = target.join(host).join("release").join(&case);
            run_one(&binary, &folder, &case)?;
        }
    }
    Ok(())
}

/// The targets of a crate, in order of their names.
fn targets(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in folder.join("fuzz_targets").read_dir()? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str());
        names.push(name.context("a target has a name")?.to_owned());
    }
    names.sort();
    Ok(names)
}

/// Runs one target; what it finds new stays out of the corpus, an input that fails in `artifacts`.
fn run_one(binary: &Path, folder: &Path, case: &str) -> Result<()> {
    let found = folder.join("artifacts").join(case);
    std::fs::create_dir_all(&found)?;
    let scratch = tempfile::tempdir()?;
    let corpus: PathBuf = folder.join("corpus").join(case);
    let mut fuzz = command(binary.to_str().context("a path in UTF-8")?, &[]);
    fuzz.args([scratch.path(), &corpus])
        .arg(format!("-runs={RUNS}"))
        .arg(format!("-max_total_time={SECONDS}"))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .args([
            "-seed=1",
            "-timeout=10",
            "-rss_limit_mb=2048",
            "-verbosity=0",
        ]);
    run(&mut fuzz)
        .with_context(|| format!("fuzz target {case}; its input is in {}", found.display()))
}
