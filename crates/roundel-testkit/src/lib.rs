//! Fake backends, fixtures and helpers that only tests use.

use std::path::PathBuf;

/// Finds an external program that a test needs, or says loudly that the test is skipped.
///
/// Panics instead of skipping when `ROUNDEL_REQUIRE_EXTERNALS=1`, so that a gate cannot pass
/// by leaving tests out. `package` is the Debian package that brings `program`.
pub fn external(program: &str, package: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let found = std::env::split_paths(&paths)
        .chain(sbin)
        .map(|dir| dir.join(program))
        .find(|path| path.is_file());
    if found.is_none() {
        let line = format!("SKIPPED: needs `{program}`; install the Debian package `{package}`");
        assert!(
            std::env::var_os("ROUNDEL_REQUIRE_EXTERNALS").is_none_or(|v| v != "1"),
            "{line}"
        );
        eprintln!("{line}");
    }
    found
}
