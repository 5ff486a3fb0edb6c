//! What the system says about this process.

use std::fs;

use roundel_admin::status::Process;

/// The clock ticks of `/proc/self/stat`; Linux fixes them at 100 for user space.
const TICKS: f64 = 100.0;

/// Fills in what changes while the process runs; a number that cannot be read stays as it was.
pub(crate) fn refresh(process: &mut Process) {
    if let Some((cpu, virtual_bytes, pages)) = stat() {
        process.cpu_seconds_total = cpu;
        process.virtual_bytes = virtual_bytes;
        process.resident_bytes = pages * rustix::param::page_size() as u64;
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        process.open_fds = entries.count().saturating_sub(1) as u64;
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    process.max_fds = limit.current.unwrap_or(u64::MAX);
}

/// Processor seconds, virtual bytes, resident pages. Source: proc_pid_stat(5).
fn stat() -> Option<(f64, u64, u64)> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold anything; fields count from behind it, state being 3.
    let (_, after) = text.rsplit_once(')')?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let number = |n: usize| fields.get(n - 3)?.parse::<u64>().ok();
    let cpu = (number(14)? + number(15)?) as f64 / TICKS;
    Some((cpu, number(23)?, number(24)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let mut process = Process::default();
        refresh(&mut process);
        assert!(process.resident_bytes > 1 << 20 && process.open_fds >= 3);
        assert!(process.max_fds >= process.open_fds);
        assert!(process.virtual_bytes >= process.resident_bytes);
    }
}
