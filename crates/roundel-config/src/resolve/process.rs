//! Settings of the process as a whole.

use std::path::Path;

use super::{Merge, known, small, told};
use crate::file::{ActsWord, File};
use crate::flags::Choice;
use crate::key::Table;
use crate::reader::{At, Place};
use crate::value::Fault;
use crate::{Acts, Process};

impl Merge<'_> {
    pub(crate) fn process(&self, file: &mut File) -> Option<Process> {
        let flags = &self.flags.admin;
        let cli_flag = flags.cli_listen.clone().map(Choice::into_option);
        let (stats, cli) = (&mut file.stats, &mut file.cli);
        self.overrule(
            "stats_listen",
            flags.stats_listen.as_ref(),
            &mut stats.listen,
        );
        self.overrule("cli_listen", cli_flag.as_ref(), &mut cli.listen);
        self.overrule("cli_socket", flags.cli_socket.as_ref(), &mut cli.socket);
        let format = &mut file.access_log.format;
        self.overrule("access_log", self.flags.access_log.as_ref(), format);
        let acts = self.acts(file);
        file.global.fill();
        file.stats.fill();
        file.cli.fill();
        file.access_log.fill();
        Some(Process {
            threads: small(known(&file.global.threads)),
            maxconn: known(&file.global.maxconn),
            drain_timeout: known(&file.global.drain_timeout),
            stats_listen: known(&file.stats.listen),
            acts: acts?,
            cli_listen: known(&file.cli.listen),
            cli_socket: told(&file.cli.socket),
            access_log: known(&file.access_log.format),
        })
    }

    /// A token file on the command line implies `admin = "token"`, and so does one in the file.
    fn acts(&self, file: &mut File) -> Option<Acts> {
        let stats = &mut file.stats;
        let flag = self.flags.admin.admin_token_file.as_ref();
        self.overrule("admin_token_file", flag, &mut stats.admin_token_file);
        let token_file = stats.admin_token_file.clone();
        let word = stats.admin.clone();
        match (word, token_file) {
            (word, Some(path)) if flag.is_some() || word.as_ref().is_none_or(is_token) => {
                let place = path.place.clone();
                if word.is_none_or(|at| !is_token(&at)) {
                    let value = ActsWord::Token;
                    stats.admin = Some(At { value, place });
                }
                self.secret(&path.value, &path.place).map(Acts::Token)
            }
            (Some(at), None) if is_token(&at) => {
                let fault = Fault::new(
                    "admin = \"token\" needs a token",
                    "add admin_token_file = \"/run/secrets/roundel_admin\"",
                );
                self.at(&at.place, fault)
            }
            (_, Some(path)) => {
                let fault = Fault::new(
                    "admin_token_file without admin = \"token\"",
                    "write admin = \"token\", or leave the token out",
                );
                self.at(&path.place, fault)
            }
            (Some(at), None) if at.value == ActsWord::Loopback => Some(Acts::Loopback),
            (_, None) => Some(Acts::Off),
        }
    }

    /// Reads a secret; a trailing line end does not belong to it.
    pub(crate) fn secret(&self, path: &Path, place: &Place) -> Option<String> {
        match std::fs::read_to_string(path) {
            Ok(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            Ok(_) => {
                let message = format!("{} is empty", path.display());
                self.at(place, Fault::new(message, "write the secret into it"))
            }
            Err(error) => {
                let message = format!("cannot read {}: {error}", path.display());
                self.at(
                    place,
                    Fault::new(message, "check the path and its permissions"),
                )
            }
        }
    }
}

fn is_token(word: &At<ActsWord>) -> bool {
    word.value == ActsWord::Token
}
