//! The keys of `[[frontend]]` about what is written on requests.

use super::{Maybe, section};
use crate::reader::{Item, Section};

/// `fields`: what is set on requests only when asked for.
#[derive(Debug, Default)]
pub(crate) struct MarksTable {
    pub(crate) forwarded: Maybe<bool>,
    pub(crate) real_ip: Maybe<bool>,
    pub(crate) request_id: Maybe<bool>,
    pub(crate) traceparent: Maybe<bool>,
}

impl MarksTable {
    pub(crate) fn read(parent: &Section<'_>) -> Self {
        let Some(s) = section(parent, "fields", "{ request_id = true }") else {
            return Self::default();
        };
        let table = Self {
            forwarded: s.get("forwarded", Item::boolean),
            real_ip: s.get("real_ip", Item::boolean),
            request_id: s.get("request_id", Item::boolean),
            traceparent: s.get("traceparent", Item::boolean),
        };
        s.finish(&[]);
        table
    }
}
