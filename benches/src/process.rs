//! Programs that a measurement starts: found, pinned to cores, ended with their owner.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A child process that ends with its owner.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        Self::spawn(command.stdin(Stdio::null()))
    }

    /// Starts one that goes on until its standard input ends.
    pub(crate) fn start_held(command: &mut Command) -> Result<Self> {
        Self::spawn(command.stdin(Stdio::piped()))
    }

    fn spawn(command: &mut Command) -> Result<Self> {
        let child = command.spawn();
        Ok(Self(
            child.with_context(|| format!("cannot start {command:?}"))?,
        ))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Says how it ended, if it did.
    pub(crate) fn ended(&mut self) -> Result<Option<String>> {
        Ok(self.0.try_wait()?.map(|status| status.to_string()))
    }

    /// Waits for a line on its standard output, which must be a pipe.
    pub(crate) fn wait_line(&mut self, expected: &str) -> Result<()> {
        let mut line = String::new();
        let out = self.0.stdout.as_mut().context("it has no pipe")?;
        BufReader::new(out).read_line(&mut line)?;
        match line.trim() == expected {
            true => Ok(()),
            false => bail!("it said {line:?} and not {expected:?}"),
        }
    }

    /// Gives one that was started held a line, and returns all that it says from there to its end.
    pub(crate) fn go(mut self) -> Result<String> {
        let mut input = self.0.stdin.take().context("it is not held")?;
        input.write_all(b"\n")?;
        let mut text = String::new();
        let out = self.0.stdout.as_mut().context("it has no pipe")?;
        out.read_to_string(&mut text)?;
        let status = self.0.wait()?;
        match status.success() {
            true => Ok(text),
            false => bail!("it ended ({status})"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone is as good as killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where a program is, the administrator's directories included.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// Fails with the names of the Debian packages that are missing; `needed` holds programs and
/// the packages they are in.
pub(crate) fn require(needed: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<_> = needed
        .iter()
        .filter(|(program, _)| find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    match missing.is_empty() {
        true => Ok(()),
        false => bail!(
            "missing Debian packages; run: apt-get install --no-install-recommends {}",
            missing.join(" ")
        ),
    }
}

/// A command that runs `program` on these cores only.
pub(crate) fn pinned(cores: &str, program: &std::path::Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", cores]).arg(program);
    command
}

/// This very program, on these cores.
pub(crate) fn myself(cores: &str) -> Result<Command> {
    Ok(pinned(cores, &std::env::current_exe()?))
}

/// Waits until somebody accepts connections there.
pub(crate) fn wait_port(address: SocketAddr, process: &mut Running) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address).is_err() {
        if let Some(how) = process.ended()? {
            bail!("it ended ({how}) before it listened on {address}");
        }
        if Instant::now() > deadline {
            bail!("it does not listen on {address}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
