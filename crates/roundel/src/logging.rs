//! The system log on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::cli::LogArgs;

/// What is logged by default.
pub(crate) const EVERYTHING: &str = "info";
/// What a balancer logs by default: its timeline tells what the gossip node would say again.
pub(crate) const WITH_TIMELINE: &str = "info,roundel_gossip_tokio=warn";

/// Starts logging to standard error. The flag wins over `RUST_LOG`, that over `default`.
///
/// Errors: the level is not one.
pub(crate) fn start(args: &LogArgs, default: &str) -> anyhow::Result<()> {
    let default_filter = std::env::var("RUST_LOG").ok().filter(|v| !v.is_empty());
    let words = args
        .log_level
        .clone()
        .or(default_filter)
        .unwrap_or_else(|| default.to_owned());
    let filter = EnvFilter::try_new(&words)
        .map_err(|e| anyhow::anyhow!("`{words}` is not a log level: {e}"))?;
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    // A second start in one process (tests) keeps the first one.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(!no_color && std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .with_target(false)
        .try_init();
    Ok(())
}
