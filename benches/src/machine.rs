//! What the machine is, and what a process costs on it, from /proc.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

/// What a report says about where it was made.
#[derive(Serialize)]
pub(crate) struct Machine {
    processor: String,
    cores: usize,
    kernel: String,
    /// Load average of the last minute before the run: what else was going on.
    load_before: String,
}

impl Machine {
    pub(crate) fn look() -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
        let processor = model.and_then(|line| line.split(':').nth(1));
        let load = fs::read_to_string("/proc/loadavg")?;
        Ok(Self {
            processor: processor.unwrap_or("unknown").trim().to_owned(),
            cores: cores()?.len(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
            load_before: load.split(' ').next().unwrap_or_default().to_owned(),
        })
    }

    pub(crate) fn sentence(&self) -> String {
        format!(
            "{} cores of {}, Linux {}, load average {} before the run",
            self.cores, self.processor, self.kernel, self.load_before
        )
    }
}

/// Which cores do what: lists as `taskset -c` takes them.
pub(crate) struct Cores {
    /// One for the balancer.
    pub(crate) proxy: String,
    /// One for the load and the origins.
    pub(crate) load: String,
    /// Two for a balancer with two workers.
    pub(crate) two: String,
    /// What is left for the load then; the same two where there are no more.
    pub(crate) beside_two: String,
}

impl Cores {
    pub(crate) fn plan() -> Result<Self> {
        let all = cores()?;
        let (first, second) = match all[..] {
            [first, second, ..] => (first, second),
            _ => bail!("this needs two cores: one for the balancer, one for the load"),
        };
        let two = format!("{first},{second}");
        let beside_two = match all[..] {
            [_, _, third, fourth, ..] => format!("{third},{fourth}"),
            _ => two.clone(),
        };
        Ok(Self {
            proxy: first.to_string(),
            load: second.to_string(),
            two,
            beside_two,
        })
    }
}

/// The cores that this process may use.
fn cores() -> Result<Vec<usize>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    parse_list(
        list.context("the kernel does not say which cores there are")?
            .trim(),
    )
}

/// Reads a list such as `0-2,5`.
fn parse_list(list: &str) -> Result<Vec<usize>> {
    let mut cores = Vec::new();
    for part in list.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        cores.extend(from.parse::<usize>()?..=to.parse()?);
    }
    Ok(cores)
}

/// Nanoseconds that all threads of a process have run so far.
pub(crate) fn cpu_ns(pid: u32) -> Result<u64> {
    threads_ns(pid, "")
}

/// The same of the threads whose names begin so.
pub(crate) fn threads_ns(pid: u32, prefix: &str) -> Result<u64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .with_context(|| format!("process {pid} is gone"))?;
    let mut total = 0;
    for task in tasks {
        let path = task?.path();
        // A thread may end in between.
        let read = |file: &str| fs::read_to_string(path.join(file));
        let (Ok(name), Ok(text)) = (read("comm"), read("schedstat")) else {
            continue;
        };
        if name.starts_with(prefix) {
            total += text.split(' ').next().unwrap_or("0").parse::<u64>()?;
        }
    }
    Ok(total)
}

/// Memory in KiB that a process shares with nobody and has written to.
pub(crate) fn private_kib(pid: u32) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
        .with_context(|| format!("process {pid} is gone"))?;
    let line = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Private_Dirty:"));
    let size = line.and_then(|rest| rest.split_whitespace().next());
    Ok(size.context("smaps_rollup has Private_Dirty")?.parse()?)
}

/// How long ago this process was started; `cargo run` becomes the program that it runs, so its
/// building counts.
pub(crate) fn since_start() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().nth(19);
    let ticks: u64 = ticks.context("stat has a start time")?.parse()?;
    let uptime = fs::read_to_string("/proc/uptime")?;
    let now: f64 = uptime.split(' ').next().unwrap_or_default().parse()?;
    let started = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
    Ok(Duration::from_secs_f64((now - started).max(0.0)))
}

/// Allows this process, and those it starts, as many open files as it may have.
pub(crate) fn raise_file_limit() -> Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )?;
    Ok(limit.maximum.unwrap_or(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lists_of_cores() {
        assert_eq!(parse_list("0-2,5").unwrap(), [0, 1, 2, 5]);
        assert_eq!(parse_list("3").unwrap(), [3]);
        assert!(parse_list("").is_err());
    }

    #[test]
    fn this_process_has_run_for_a_while_and_has_memory() {
        let me = std::process::id();
        assert!(cpu_ns(me).unwrap() > 0);
        assert!(private_kib(me).unwrap() > 0);
        assert!(since_start().unwrap() < Duration::from_secs(24 * 3600));
    }
}
