//! `timeouts` of a route.

use std::time::Duration;

use crate::key::{Key, Maybe, Table, key};
use crate::kind::{Time, any};

/// `timeouts = …` of a route: what is said there overrides frontend and backend.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RouteTimesTable {
    pub(crate) client: Maybe<Duration>,
    pub(crate) request_body: Maybe<Duration>,
    pub(crate) server: Maybe<Duration>,
    pub(crate) first_byte: Maybe<Duration>,
    pub(crate) response_idle: Maybe<Duration>,
    pub(crate) total: Maybe<Duration>,
    pub(crate) queue: Maybe<Duration>,
}

impl Table for RouteTimesTable {
    const EXAMPLE: &'static str = "{ server = \"1h\", client = \"1h\" }";

    fn keys() -> Vec<Key<Self>> {
        vec![
            key!(client, Time(any))
                .example("\"1h\"")
                .words("without a byte while the client is waited for; also sets request_body"),
            key!(request_body, Time(any))
                .example("\"1h\"")
                .words("between two pieces of a request's body"),
            key!(server, Time(any)).example("\"1h\"").words(
                "without a byte while the server is waited for; sets first_byte and response_idle",
            ),
            key!(first_byte, Time(any))
                .example("\"1h\"")
                .words("without a byte before a server's answer begins"),
            key!(response_idle, Time(any))
                .example("\"1h\"")
                .words("without a byte within a server's answer"),
            key!(total, Time(any))
                .example("\"30s\"")
                .words("for a request in all; \"0s\": any time"),
            key!(queue, Time(any))
                .example("\"1s\"")
                .words("for a place on a full backend"),
        ]
    }
}
