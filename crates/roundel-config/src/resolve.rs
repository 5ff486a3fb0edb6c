//! Merges flag over variable over file over default, and checks what only the whole tells.

use std::path::Path;

use toml::Spanned;
use toml::de::DeTable;

use super::file::File;
use super::reader::{At, Reader, Section};
use super::{Origins, Problem, Problems, Settings, Source};
use crate::Given;
use crate::flags::Flags;
use crate::value::Fault;

mod backend;
mod frontend;
mod gossip;
mod pages;
mod process;

pub use gossip::read_key;

/// Says why there are no settings.
#[derive(Debug)]
pub enum LoadError {
    /// The flags contradict the file: a usage error.
    Usage(String),
    /// The configuration has mistakes.
    Problems(Problems),
}

/// Reads the file that `flags` name, if any, and resolves everything.
///
/// Errors: every problem at once; see [`LoadError`].
pub fn load(flags: &Flags, given: &Given) -> Result<Settings, LoadError> {
    let source = match &flags.config {
        None => None,
        Some(path) => Some(Source::read(path).map_err(|e| unreadable(path, &e))?),
    };
    load_text(source, flags, given, &|name| std::env::var(name).ok())
}

fn unreadable(path: &Path, error: &std::io::Error) -> LoadError {
    let problem = Problem {
        message: format!("cannot read {}: {error}", path.display()),
        hint: Some("name another file with -c FILE; `-` is standard input".to_owned()),
        span: None,
    };
    LoadError::Problems(Problems::new(None, vec![problem]))
}

/// Reads a file's text alone, as `roundel check` does without any other flag or variable.
///
/// Errors: as `load`.
pub fn read_text(text: &str) -> Result<Settings, LoadError> {
    let source = Source::new("roundel.toml", text.to_owned());
    load_text(Some(source), &Flags::default(), &Given::default(), &|_| {
        None
    })
}

/// Resolves settings from text that is already at hand; `lookup` answers `${VAR}`.
///
/// Errors: as [`load`].
pub(crate) fn load_text(
    source: Option<Source>,
    flags: &Flags,
    given: &Given,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Settings, LoadError> {
    let source = source
        .map(super::json::to_toml)
        .transpose()
        .map_err(LoadError::Problems)?;
    let reader = Reader::new(lookup);
    let file = match &source {
        None => File::default(),
        Some(source) => parse(source, &reader)?,
    };
    let mut merge = Merge {
        source: source.as_ref(),
        flags,
        given,
        reader,
        origins: Origins::default(),
    };
    let settings = merge.settings(&file);
    let problems = merge.reader.into_problems();
    match settings {
        Some(settings) if problems.is_empty() => settings,
        _ => Err(LoadError::Problems(Problems::new(source, problems))),
    }
}

/// Reads the text as TOML. Mistakes of syntax come alone: what follows one is guesswork.
fn parse(source: &Source, reader: &Reader<'_>) -> Result<File, LoadError> {
    let (table, errors): (Spanned<DeTable<'_>>, _) = DeTable::parse_recoverable(source.text());
    if errors.is_empty() {
        return Ok(File::read(&Section::root(reader, &table)));
    }
    if let Some(span) = haproxy_section(source.text()) {
        let problem = Problem {
            message: "this is a configuration of HAProxy, not of Roundel".to_owned(),
            hint: Some(
                "Roundel's is TOML with HAProxy's words: [[frontend]] with name, listen, \
                 default_backend; [[backend]] with name, balance, server"
                    .to_owned(),
            ),
            span: Some(span),
        };
        let source = Some(source.clone());
        return Err(LoadError::Problems(Problems::new(source, vec![problem])));
    }
    let problem = |e: toml::de::Error| Problem {
        message: e.message().lines().next().unwrap_or("bad TOML").to_owned(),
        hint: Some("the file is TOML: key = \"value\", [table], [[list of tables]]".to_owned()),
        span: e.span(),
    };
    let list = errors.into_iter().map(problem).collect();
    Err(LoadError::Problems(Problems::new(
        Some(source.clone()),
        list,
    )))
}

/// Where the first section of a text begins that is one of HAProxy's.
fn haproxy_section(text: &str) -> Option<std::ops::Range<usize>> {
    const SECTIONS: [&str; 9] = [
        "global",
        "defaults",
        "frontend",
        "backend",
        "listen",
        "userlist",
        "peers",
        "resolvers",
        "cache",
    ];
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let words = line.trim();
        if !words.is_empty() && !words.starts_with('#') {
            let first = words.split_whitespace().next()?;
            let is_section = SECTIONS.contains(&first) && !words.contains('=');
            return is_section.then(|| at..at + first.len());
        }
        at += line.len();
    }
    None
}

/// What resolving needs to know, and what it finds out on the way.
struct Merge<'a> {
    source: Option<&'a Source>,
    flags: &'a Flags,
    given: &'a Given,
    reader: Reader<'a>,
    origins: Origins,
}

impl Merge<'_> {
    fn settings(&mut self, file: &File) -> Option<Result<Settings, LoadError>> {
        if let Some(usage) = self.contradiction(file) {
            return Some(Err(LoadError::Usage(usage)));
        }
        let process = self.process(file);
        let gossip = self.gossip(file);
        let backends = self.backends(file, gossip.as_ref());
        let frontends = self.frontends(file, &backends);
        if let Some(process) = &process {
            self.addresses_are_free(file, process, gossip.as_ref());
        }
        Some(Ok(Settings {
            file: self.source.map(|s| s.file().to_owned()),
            process: process?,
            gossip,
            frontends,
            backends,
            origins: std::mem::take(&mut self.origins),
        }))
    }

    /// Flags of the single backend make no sense beside a file that defines its own.
    fn contradiction(&self, file: &File) -> Option<String> {
        if file.frontends.is_empty() && file.backends.is_empty() {
            return None;
        }
        let single = [
            "listen",
            "server_port",
            "static_servers",
            "balance",
            "sticky",
            "check",
        ];
        let origin = single.iter().find_map(|id| self.given.origin(id))?;
        let file = self.source.map_or("the file", Source::name);
        Some(format!(
            "{origin} is for the one backend that exists without a file, but {file} defines frontends or backends; say it there"
        ))
    }

    /// Chooses flag or variable over file over default, and notes where the value came from.
    fn choose<T: Clone>(
        &mut self,
        path: &str,
        flag: (&str, Option<&T>),
        file: Option<&At<T>>,
        default: T,
    ) -> T {
        self.pick(path, flag, file).unwrap_or(default)
    }

    /// As [`Merge::choose`] where there may be no value.
    fn pick<T: Clone>(
        &mut self,
        path: &str,
        (id, flag): (&str, Option<&T>),
        file: Option<&At<T>>,
    ) -> Option<T> {
        if let Some(value) = flag {
            let origin = self.given.origin(id).unwrap_or("flag").to_owned();
            self.origins.note(path, origin);
            return Some(value.clone());
        }
        let at = file?;
        self.note_file(path, &at.span);
        Some(at.value.clone())
    }

    /// A value that only the file can say.
    fn filed<T: Clone>(&mut self, path: &str, file: Option<&At<T>>, default: T) -> T {
        self.pick(path, ("", None), file).unwrap_or(default)
    }

    fn note_file(&mut self, path: &str, span: &std::ops::Range<usize>) {
        let Some(source) = self.source else { return };
        let line = source.place(span).line_number;
        self.origins.note(path, format!("{}:{line}", source.name()));
    }

    fn note_given(&mut self, path: &str, id: &str) {
        if let Some(origin) = self.given.origin(id) {
            let origin = origin.to_owned();
            self.origins.note(path, origin);
        }
    }

    /// Reports a problem that no place in the file stands for.
    fn complain(&self, fault: Fault) {
        self.reader.report_nowhere(fault);
    }
}
