//! Merges flag over variable over file over default, and checks what only the whole tells.

use std::path::Path;

use toml::Spanned;
use toml::de::DeTable;

use super::{AlarmRules, Problem, Problems, Settings, Source};
use crate::Given;
use crate::effective::Effective;
use crate::file::{AlarmTable, DefaultsTable, File};
use crate::flags::Flags;
use crate::key::{Maybe, Table};
use crate::reader::{At, Place, Reader, Section};
use crate::value::Fault;

mod acme;
mod back;
mod backend;
mod cluster;
mod frontend;
mod gossip;
mod pages;
mod process;
mod tls;

pub use gossip::read_key;

/// Says why there are no settings.
#[derive(Debug)]
pub enum LoadError {
    /// The flags contradict the file: a usage error.
    Usage(String),
    /// The configuration has mistakes.
    Problems(Problems),
}

impl LoadError {
    /// What is wrong first, in one line.
    pub fn headline(&self) -> String {
        match self {
            Self::Usage(text) => text.clone(),
            Self::Problems(problems) => problems.headline(),
        }
    }
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
    let merge = Merge {
        source: source.as_ref(),
        flags,
        given,
        reader,
    };
    if let Some(usage) = merge.contradiction(&file) {
        return Err(LoadError::Usage(usage));
    }
    let settings = merge.settings(file);
    let problems = merge.reader.into_problems();
    match settings {
        Some(settings) if problems.is_empty() => Ok(settings),
        _ => Err(LoadError::Problems(Problems::new(source, problems))),
    }
}

impl File {
    /// Reads what a file says, without asking whether it makes sense together.
    ///
    /// Errors: every problem at once.
    pub fn read(
        source: &Source,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Problems> {
        let reader = Reader::new(lookup);
        let file = match parse(source, &reader) {
            Ok(file) => file,
            Err(LoadError::Problems(problems)) => return Err(problems),
            Err(LoadError::Usage(_)) => unreachable!("there are no flags"),
        };
        match reader.into_problems() {
            problems if problems.is_empty() => Ok(file),
            problems => Err(Problems::new(Some(source.clone()), problems)),
        }
    }
}

/// Reads the text as TOML. Mistakes of syntax come alone: what follows one is guesswork.
fn parse(source: &Source, reader: &Reader<'_>) -> Result<File, LoadError> {
    let (table, errors): (Spanned<DeTable<'_>>, _) = DeTable::parse_recoverable(source.text());
    if errors.is_empty() {
        let root = Section::root(reader, &table);
        return Ok(<File as Table>::read(&root).unwrap_or_default());
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

/// What resolving needs to know.
struct Merge<'a> {
    source: Option<&'a Source>,
    flags: &'a Flags,
    given: &'a Given,
    reader: Reader<'a>,
}

impl Merge<'_> {
    /// Turns what the file says into what counts, and that into settings.
    fn settings(&self, mut file: File) -> Option<Settings> {
        let stats_tls = self.stats_tls(&mut file);
        let process = self.process(&mut file);
        let alarm = alarm(&known(&file.stats.alarm));
        let gossip = self.gossip(&mut file);
        let cluster = self.cluster(&mut file, gossip.as_ref());
        let backends = self.backends(&mut file, gossip.as_ref());
        let frontends = self.frontends(&mut file, &backends);
        if let Some(process) = &process {
            let nodes = (gossip.as_ref(), cluster.as_ref());
            self.addresses_are_free(&file, process, nodes);
        }
        // Each frontend and backend has its own by now.
        file.defaults = DefaultsTable::default();
        Some(Settings {
            file: self.source.map(|s| s.file().to_owned()),
            process: process?,
            stats_tls,
            alarm,
            gossip,
            cluster,
            frontends,
            backends,
            effective: Effective::new(file, self.source),
        })
    }

    /// Flags of the single backend make no sense beside a file that defines its own.
    fn contradiction(&self, file: &File) -> Option<String> {
        if file.frontends().is_empty() && file.backends().is_empty() {
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

    /// A value that a flag or its variable says.
    fn given<T>(&self, id: &str, value: T) -> At<T> {
        let origin = self.given.origin(id).unwrap_or("flag").to_owned();
        let place = Place::Said(origin);
        At { value, place }
    }

    /// Lets a flag or its variable win over the file.
    fn overrule<T: Clone>(&self, id: &str, flag: Option<&T>, key: &mut Maybe<T>) {
        if let Some(value) = flag {
            *key = Some(self.given(id, value.clone()));
        }
    }

    /// As [`Merge::overrule`] for a list, which says nothing when it is empty.
    fn overrule_list<T: Clone>(&self, id: &str, flag: &[T], key: &mut Maybe<Vec<At<T>>>) {
        if !flag.is_empty() {
            let list = flag.iter().map(|value| self.given(id, value.clone()));
            *key = Some(self.given(id, list.collect()));
        }
    }

    /// Reports at the place of a value, if that is in the file.
    fn at<T>(&self, place: &Place, fault: Fault) -> Option<T> {
        self.reader.report_at(place, fault);
        None
    }

    /// Reports a problem that no place in the file stands for.
    fn complain(&self, fault: Fault) {
        self.reader.report_nowhere(fault);
    }
}

fn alarm(table: &AlarmTable) -> AlarmRules {
    AlarmRules {
        warning: known(&table.warning),
        critical: known(&table.critical),
        min_requests: known(&table.min_requests),
        latency: known(&table.latency),
        latency_factor: known(&table.latency_factor),
        queue: known(&table.queue),
    }
}

/// The value of a key that has one: the reader requires it, or it has a default.
fn known<T: Clone>(key: &Maybe<T>) -> T {
    let at = key.as_ref().expect("the key is required or has a default");
    at.value.clone()
}

/// The value of a key that may have none.
fn told<T: Clone>(key: &Maybe<T>) -> Option<T> {
    key.as_ref().map(|at| at.value.clone())
}

/// The values of a list, without their places.
fn all<T: Clone>(key: &Maybe<Vec<At<T>>>) -> Vec<T> {
    let list = key.iter().flat_map(|at| &at.value);
    list.map(|at| at.value.clone()).collect()
}

/// A number whose range the reader has checked.
fn small<T: TryFrom<u64>>(number: u64) -> T {
    let small = T::try_from(number).ok();
    small.expect("the reader allows only what fits")
}
