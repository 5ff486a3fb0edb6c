//! The app as our child, and the orphans that come with being process 1.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid,
};
use tokio::process::{Child, Command};

use crate::AgentError;

/// The app that we run, or nothing if somebody else runs it.
#[derive(Debug)]
pub(crate) struct App(Option<Child>);

impl App {
    /// Starts the command, if there is one.
    ///
    /// It gets a process group of its own, so that a terminal's Ctrl-C reaches only us and the
    /// leave is announced before the app ends. Orphans it leaves behind are handed to us.
    pub(crate) fn start(command: Option<&[OsString]>) -> Result<Self, AgentError> {
        let Some(words) = command else {
            return Ok(Self(None));
        };
        let (program, arguments) = words.split_first().ok_or(AgentError::EmptyCommand)?;
        // Refused on old kernels only; as process 1 we are handed orphans without asking.
        let _ = set_child_subreaper(Some(getpid()));
        let child = Command::new(program)
            .args(arguments)
            .process_group(0)
            .spawn()
            .map_err(|source| AgentError::Command {
                command: program.clone(),
                source,
            })?;
        tracing::info!(command = ?words, pid = child.id(), "app started");
        Ok(Self(Some(child)))
    }

    /// Whether there is an app of ours.
    pub(crate) fn is_ours(&self) -> bool {
        self.0.is_some()
    }

    /// Sends a signal to the app; nothing happens if it has ended or is not ours.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits for the app's end and gives the exit code that a shell would; never ends if the
    /// app is not ours. Safe to cancel.
    pub(crate) async fn ended(&mut self) -> i32 {
        match &mut self.0 {
            None => std::future::pending().await,
            Some(child) => match child.wait().await {
                Ok(status) => exit_code(status),
                Err(error) => {
                    tracing::error!(%error, "cannot learn how the app ended");
                    1
                }
            },
        }
    }

    /// Reaps every ended child of ours that is not the app.
    ///
    /// The app's own status is left to whoever waits for it: each orphan is waited for by its
    /// id, never "any child".
    pub(crate) fn reap_orphans(&self) {
        if !self.is_ours() {
            return;
        }
        let app = self.pid();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let orphans = entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter_map(Pid::from_raw)
            .filter(|pid| Some(*pid) != app && is_zombie_of_ours(*pid));
        for pid in orphans {
            if waitpid(Some(pid), WaitOptions::NOHANG).is_ok() {
                tracing::debug!(pid = pid.as_raw_nonzero().get(), "orphan reaped");
            }
        }
    }

    fn pid(&self) -> Option<Pid> {
        let id = self.0.as_ref()?.id()?;
        Pid::from_raw(i32::try_from(id).ok()?)
    }
}

/// The code that a shell gives: the app's own, or 128 and the signal that ended it.
fn exit_code(status: ExitStatus) -> i32 {
    let by_signal = status.signal().map(|signal| 128 + signal);
    status.code().or(by_signal).unwrap_or(1)
}

/// Reads state and parent, the two fields after the name in parentheses (proc(5), `stat`).
fn is_zombie_of_ours(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    let stat = stat.unwrap_or_default();
    let Some((_, rest)) = stat.rsplit_once(')') else {
        return false;
    };
    let mut fields = rest.split_whitespace();
    let state = fields.next();
    let parent = fields.next().and_then(|p| p.parse().ok());
    state == Some("Z") && parent == Some(getpid().as_raw_nonzero().get())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn code_of(script: &str) -> i32 {
        let words = ["sh", "-c", script].map(OsString::from);
        App::start(Some(&words)).unwrap().ended().await
    }

    #[tokio::test]
    async fn gives_the_code_that_a_shell_gives() {
        assert_eq!(code_of("exit 0").await, 0);
        assert_eq!(code_of("exit 42").await, 42);
        assert_eq!(code_of("kill -9 $$").await, 137);
    }

    #[tokio::test]
    async fn tells_what_cannot_be_started() {
        let missing = [OsString::from("/nonexistent/app")];
        let error = App::start(Some(&missing)).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/app"), "{error}");
        assert!(matches!(
            App::start(Some(&[])),
            Err(AgentError::EmptyCommand)
        ));
    }
}
