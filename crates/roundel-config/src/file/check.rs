//! `check` of a backend.

use std::time::Duration;

use roundel_balance::CheckKind;

use crate::key::{Key, Maybe, Table, key};
use crate::kind::{Bool, Notation, Short, Time, Whole, text_schema};
use crate::reader::{At, Item, Section};
use crate::value::Fault;

/// `check = …`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct CheckTable {
    pub(crate) http: Maybe<CheckKind>,
    pub(crate) tcp: Maybe<bool>,
    pub(crate) grpc: Maybe<bool>,
    pub(crate) service: Maybe<String>,
    pub(crate) host: Maybe<String>,
    pub(crate) every: Maybe<Duration>,
    pub(crate) timeout: Maybe<Duration>,
    pub(crate) fast: Maybe<Duration>,
    pub(crate) rise: Maybe<u64>,
    pub(crate) fall: Maybe<u64>,
}

/// How a check looks in one string.
const PATTERN: &str = "^[A-Z]+ /[!-~]*$";

impl Table for CheckTable {
    const EXAMPLE: &'static str = "{ http = \"HEAD /\", every = \"2s\" }";
    const LATER: &'static [(&'static str, &'static str)] = &[(
        "port",
        "a check goes to the port of its server; `host` is what its Host header says",
    )];

    fn keys() -> Vec<Key<Self>> {
        let http = Notation {
            read: check_kind,
            show: CheckKind::to_string,
            pattern: PATTERN,
        };
        let service = Notation {
            read: check_service,
            show: String::clone,
            pattern: "^[A-Za-z0-9_.]+$",
        };
        let host = Notation {
            read: check_host,
            show: String::clone,
            pattern: "^[!-~]+$",
        };
        vec![
            key!(http, http)
                .said("\"HEAD /\"")
                .words("what is asked for, by default this; 2xx and 3xx pass"),
            key!(tcp, Bool)
                .example("true")
                .words("true: a connection is enough"),
            key!(grpc, Bool)
                .example("true")
                .words("true: the call grpc.health.v1.Health/Check, over HTTP/2; SERVING passes"),
            key!(service, service)
                .example("\"shop.Orders\"")
                .words("that is asked for there; the server as a whole by default"),
            key!(host, host)
                .example("\"app.example.org\"")
                .words("the Host header of what is asked for; over gRPC its :authority"),
            key!(every, Time(positive))
                .default("\"2s\"")
                .words("between two checks"),
            key!(timeout, Time(positive))
                .said("\"2s\"")
                .words("of one check; as long as `every` by default"),
            key!(fast, Time(positive)).said("\"1s\"").words(
                "instead of `every` after the first failure of a server that serves, half of it \
                 by default; one that is out and may come in is checked each eighth of `every`",
            ),
            key!(rise, Whole(1..=100))
                .default("2")
                .words("passes in a row that bring a server in"),
            key!(fall, Whole(1..=100))
                .default("3")
                .words("failures in a row that put it out"),
        ]
    }

    fn verify(&mut self, section: &Section<'_>) -> bool {
        let said = self.every.as_ref().map(|at| at.value);
        let every = said.unwrap_or(roundel_balance::CheckSpec::default().every);
        if let Some(fast) = self.fast.take_if(|at| at.value > every) {
            section.report_at(
                &fast.place,
                Fault::new(
                    "checks after a failure are faster than others",
                    "write at most what `every` says, or leave `fast` out: it is half of that",
                ),
            );
        }
        let kinds = [self.http.is_some(), self.is_tcp(), self.is_grpc()];
        if kinds.into_iter().filter(|is| *is).count() > 1 {
            section.fail(Fault::new(
                "a check is either `http`, `tcp` or `grpc`",
                "leave all but one of them out",
            ));
            return false;
        }
        if let Some(service) = self.service.as_ref().filter(|_| !self.is_grpc()) {
            section.report_at(
                &service.place,
                Fault::new(
                    "a `service` is asked for by gRPC only",
                    "add grpc = true, or leave `service` out",
                ),
            );
        }
        true
    }

    /// A probe may take as long as the time between two, unless told otherwise.
    fn complete(&mut self) {
        let every = self.every.as_ref().map(|at| at.value);
        let computed = |time: Option<Duration>| time.map(At::default);
        self.timeout = self.timeout.take().or(computed(every));
        self.fast = self.fast.take().or(computed(every.map(|time| time / 2)));
        if !self.is_tcp() && !self.is_grpc() {
            let asked = || Some(At::default(check_kind("HEAD /").ok()?));
            self.http = self.http.take().or_else(asked);
        }
    }
}

impl CheckTable {
    /// The table, or a string that says what is asked for.
    pub(super) fn kind() -> Short<Self> {
        Short {
            is_short: |item| item.is_text(),
            read: |item| {
                let value = item.parse(check_word)?;
                let place = item.place();
                Some(Self::of(At { value, place }))
            },
            show: |_| None,
            schema: || text_schema(&format!("^tcp$|^grpc$|{PATTERN}")),
        }
    }

    /// A check of this kind with everything else as by default.
    pub(crate) fn of(at: At<CheckKind>) -> Self {
        let mut table = Self::default();
        match at.value {
            CheckKind::Tcp => {
                let place = at.place;
                table.tcp = Some(At { value: true, place });
            }
            CheckKind::Grpc { .. } => {
                let place = at.place;
                table.grpc = Some(At { value: true, place });
            }
            _ => table.http = Some(at),
        }
        table
    }

    /// Whether a connection is enough.
    pub(crate) fn is_tcp(&self) -> bool {
        self.tcp.as_ref().is_some_and(|at| at.value)
    }

    /// Whether the health service is called.
    pub(crate) fn is_grpc(&self) -> bool {
        self.grpc.as_ref().is_some_and(|at| at.value)
    }
}

/// Reads the full name of a service, as in a `.proto`.
fn check_service(text: &str) -> Result<String, Fault> {
    let is_part = |part: &str| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        !part.is_empty() && part.bytes().all(fits)
    };
    if !text.split('.').all(is_part) {
        return Err(Fault::new(
            format!("`{text}` cannot be a service of gRPC"),
            "write its full name, as \"shop.Orders\"",
        ));
    }
    Ok(text.to_owned())
}

fn positive(item: &Item<'_>, time: Duration) -> Option<Duration> {
    if time.is_zero() {
        return item.fail(Fault::new("this time cannot be zero", "write \"2s\""));
    }
    Some(time)
}

/// The check that the flag `--check` and the key `check` say in one string.
pub(crate) fn check_word(text: &str) -> Result<CheckKind, Fault> {
    match text {
        "off" => Ok(CheckKind::Off),
        "tcp" => Ok(CheckKind::Tcp),
        "grpc" => Ok(CheckKind::Grpc {
            service: String::new(),
            host: None,
        }),
        _ => check_kind(text),
    }
}

/// Reads `METHOD PATH`.
fn check_kind(text: &str) -> Result<CheckKind, Fault> {
    let fault = || {
        Fault::new(
            format!("`{text}` is not a check"),
            "write \"HEAD /\", \"GET /healthz\", \"grpc\", \"tcp\" or \"off\"",
        )
    };
    let (method, path) = text.split_once(' ').ok_or_else(fault)?;
    let token = !method.is_empty() && method.chars().all(|c| c.is_ascii_uppercase());
    let printable = path.chars().all(|c| c.is_ascii_graphic());
    if !token || !path.starts_with('/') || !printable {
        return Err(fault());
    }
    Ok(CheckKind::Http {
        method: method.to_owned(),
        path: path.to_owned(),
        host: None,
    })
}

fn check_host(text: &str) -> Result<String, Fault> {
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_graphic()) {
        return Err(Fault::new(
            format!("`{text}` cannot be a Host field"),
            "write \"app.example.org\"",
        ));
    }
    Ok(text.to_owned())
}
