//! Settings of the process as a whole.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use roundel_proxy::LogFormat;

use super::Merge;
use crate::file::{ActsWord, File};
use crate::flags::Choice;
use crate::reader::At;
use crate::value::{self, Fault};
use crate::{Acts, Process};

/// Compose kills 10 s after SIGTERM; this leaves 2 s.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

impl Merge<'_> {
    pub(crate) fn process(&mut self, file: &File) -> Option<Process> {
        let args = self.flags;
        let every = value::listen(":1936").expect("a fixed address");
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 9999));
        let cli_flag = args.admin.cli_listen.clone().map(Choice::into_option);
        let acts = self.acts(file);
        Some(Process {
            threads: self.filed("global.threads", file.threads.as_ref(), 0) as usize,
            maxconn: self.filed("global.maxconn", file.maxconn.as_ref(), 0),
            drain_timeout: self.filed(
                "global.drain_timeout",
                file.drain_timeout.as_ref(),
                DRAIN_TIMEOUT,
            ),
            stats_listen: self.choose(
                "stats.listen",
                ("stats_listen", args.admin.stats_listen.as_ref()),
                file.stats.listen.as_ref(),
                every,
            ),
            acts: acts?,
            cli_listen: self.choose(
                "cli.listen",
                ("cli_listen", cli_flag.as_ref()),
                file.cli_listen.as_ref(),
                Some(local),
            ),
            cli_socket: self.pick(
                "cli.socket",
                ("cli_socket", args.admin.cli_socket.as_ref()),
                file.cli_socket.as_ref(),
            ),
            access_log: self.choose(
                "access_log.format",
                ("access_log", args.access_log.as_ref()),
                file.access_log.as_ref(),
                Some(LogFormat::default()),
            ),
        })
    }

    /// A token file on the command line implies `admin = "token"`, and so does one in the file.
    fn acts(&mut self, file: &File) -> Option<Acts> {
        let flag = self.flags.admin.admin_token_file.as_ref();
        let token_file = self.pick(
            "stats.admin_token_file",
            ("admin_token_file", flag),
            file.stats.admin_token_file.as_ref(),
        );
        let place = file
            .stats
            .admin_token_file
            .as_ref()
            .filter(|_| flag.is_none());
        let word = file.stats.admin.as_ref();
        if let Some(at) = word {
            self.note_file("stats.admin", &at.span);
        }
        match (word.map(|at| at.value), token_file) {
            (Some(ActsWord::Off) | None, None) => Some(Acts::Off),
            (Some(ActsWord::Loopback), None) => Some(Acts::Loopback),
            (Some(ActsWord::Token) | None, Some(path)) => {
                self.secret(&path, place).map(Acts::Token)
            }
            (Some(ActsWord::Token), None) => {
                let fault = Fault::new(
                    "admin = \"token\" needs a token",
                    "add admin_token_file = \"/run/secrets/roundel_admin\"",
                );
                self.at(word.map(|at| at.span.clone()), fault)
            }
            (Some(_), Some(path)) if flag.is_some() => self.secret(&path, place).map(Acts::Token),
            (Some(_), Some(_)) => {
                let fault = Fault::new(
                    "admin_token_file without admin = \"token\"",
                    "write admin = \"token\", or leave the token out",
                );
                self.at(place.map(|at| at.span.clone()), fault)
            }
        }
    }

    /// Reads a secret; a trailing line end does not belong to it.
    pub(crate) fn secret(&self, path: &Path, place: Option<&At<PathBuf>>) -> Option<String> {
        let span = place.map(|at| at.span.clone());
        match std::fs::read_to_string(path) {
            Ok(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            Ok(_) => {
                let message = format!("{} is empty", path.display());
                self.at(span, Fault::new(message, "write the secret into it"))
            }
            Err(error) => {
                let message = format!("cannot read {}: {error}", path.display());
                self.at(
                    span,
                    Fault::new(message, "check the path and its permissions"),
                )
            }
        }
    }

    /// Reports at a place of the file, if there is one.
    pub(crate) fn at<T>(&self, span: Option<std::ops::Range<usize>>, fault: Fault) -> Option<T> {
        match span {
            Some(span) => self.reader.report(span, fault),
            None => self.complain(fault),
        }
        None
    }
}
