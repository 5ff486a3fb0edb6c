//! Settings of the process as a whole.

use std::path::Path;

use roundel_admin::{Read, Users};

use super::{Merge, known, small, told};
use crate::file::{ActsWord, File, ReadWord};
use crate::flags::Choice;
use crate::key::Table;
use crate::reader::{At, Place};
use crate::value::Fault;
use crate::{Acts, Process};

/// A token of fewer characters can be guessed.
const SHORTEST_TOKEN: usize = 16;

/// A longer file holds no secret.
const SECRET: u64 = 64 << 10;

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
        let read = self.read(file);
        file.global.fill();
        file.stats.fill();
        file.cli.fill();
        file.access_log.fill();
        Some(Process {
            threads: small(known(&file.global.threads)),
            maxconn: known(&file.global.maxconn),
            http2_memory: known(&file.global.http2_memory),
            drain_timeout: known(&file.global.drain_timeout),
            stats_listen: known(&file.stats.listen),
            stats_memory: known(&file.stats.memory),
            read: read?,
            open_metrics: known(&file.stats.open_metrics),
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
                self.token(&path.value, &path.place).map(Acts::Token)
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

    /// A file of one kind implies its word.
    fn read(&self, file: &mut File) -> Option<Read> {
        let stats = &mut file.stats;
        let word = match (&stats.read, &stats.read_token_file, &stats.users_file) {
            (Some(word), ..) => word.value,
            (None, Some(_), _) => ReadWord::Token,
            (None, None, Some(_)) => ReadWord::Basic,
            (None, None, None) => ReadWord::Open,
        };
        let (token, users) = (stats.read_token_file.clone(), stats.users_file.clone());
        let (wanted, other) = match word {
            ReadWord::Open => (None, token.or(users)),
            ReadWord::Token => (token, users),
            ReadWord::Basic => (users, token),
        };
        if let Some(at) = other {
            let fault = Fault::new(
                "only one of read = \"token\" with read_token_file and read = \"basic\" with users_file",
                "leave out the file that does not belong to read",
            );
            return self.at(&at.place, fault);
        }
        if word == ReadWord::Open {
            return Some(Read::Open);
        }
        let Some(path) = wanted else {
            let (message, cure) = match word {
                ReadWord::Token => (
                    "read = \"token\" needs a token",
                    "add read_token_file = \"/run/secrets/roundel_read\"",
                ),
                _ => (
                    "read = \"basic\" needs names and passwords",
                    "add users_file = \"/etc/roundel/users\"",
                ),
            };
            let at = stats.read.as_ref()?;
            return self.at(&at.place, Fault::new(message, cure));
        };
        if stats.read.is_none() {
            let place = path.place.clone();
            stats.read = Some(At { value: word, place });
        }
        match word {
            ReadWord::Token => self.token(&path.value, &path.place).map(Read::Token),
            _ => self.users(&path.value, &path.place).map(Read::Basic),
        }
    }

    fn users(&self, path: &Path, place: &Place) -> Option<Users> {
        let text = self.secret(path, place)?;
        match Users::parse(&text) {
            Ok(users) => Some(users),
            Err(error) => {
                let message = format!("{}: {error}", path.display());
                let cure = "write lines of NAME:HASH, as `htpasswd -nB NAME` makes them";
                self.at(place, Fault::new(message, cure))
            }
        }
    }

    /// Reads a token, which must be too long to be guessed.
    fn token(&self, path: &Path, place: &Place) -> Option<String> {
        let token = self.secret(path, place)?;
        let length = token.chars().count();
        if length >= SHORTEST_TOKEN {
            return Some(token);
        }
        let path = path.display();
        let fault = Fault::new(
            format!("the token in {path} has {length} characters; it needs {SHORTEST_TOKEN}"),
            format!("write a longer one: roundel keygen > {path}"),
        );
        self.at(place, fault)
    }

    /// Reads a secret; a trailing line end does not belong to it.
    pub(crate) fn secret(&self, path: &Path, place: &Place) -> Option<String> {
        match roundel_files::read_secret(path, SECRET) {
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
