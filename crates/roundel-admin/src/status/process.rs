//! The process and its configuration.

use serde::{Deserialize, Serialize};

/// The process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// The source revision it was built from; empty when unknown.
    pub revision: String,
    /// When it started, in seconds since the Unix epoch.
    pub start_time_seconds: f64,
    /// Its process id.
    pub pid: u32,
    /// Worker threads.
    pub threads: u64,
    /// Processor time used in user and kernel mode, in seconds.
    pub cpu_seconds_total: f64,
    /// Resident memory.
    pub resident_bytes: u64,
    /// Virtual memory.
    pub virtual_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// The limit of open file descriptors.
    pub max_fds: u64,
    /// How long ago the slowest worker turned its loop; a fraction of a second while all is well.
    pub worker_stall_seconds: f64,
    /// Workers that ended by a panic and were replaced.
    pub worker_restarts_total: u64,
    /// The most client connections allowed; 0 without a limit.
    pub max_connections: u64,
    /// Client connections that are closing while their client still sends.
    pub lingering: u64,
    /// The pipes through which large bodies go.
    pub pipes: Pipes,
}

/// The pipes through which large bodies go inside the kernel.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pipes {
    /// The most that there may be.
    pub most: u64,
    /// Those that hold something.
    pub used: u64,
    /// Those that are kept for later.
    pub free: u64,
    /// Bytes that went through them.
    pub bytes_total: u64,
}

/// The configuration in force and its reloads.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigStatus {
    /// The file; empty when there is none.
    pub file: String,
    /// Reloads that were taken over.
    pub reloads_ok_total: u64,
    /// Reloads that were refused.
    pub reloads_failed_total: u64,
    /// Why the last reload was refused; `None` when it was not, or there was none.
    pub last_error: Option<String>,
    /// When the configuration in force was loaded, in seconds since the Unix epoch.
    pub last_reload_timestamp_seconds: f64,
}
