//! What the Connection field said.

use crate::fields::{Fields, elements};
use crate::known::Known;

/// Sums up the options of all Connection fields of one head (RFC 9110, 7.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Connection {
    /// `close` was there.
    pub close: bool,
    /// `keep-alive` was there.
    pub keep_alive: bool,
    /// `upgrade` was there.
    pub upgrade: bool,
    /// Some other name was there, so that fields may have to go: see `Edits::remove_connection_named`.
    pub names_fields: bool,
}

impl Connection {
    /// Reads all Connection fields; options that name no field of the message do not count as names.
    #[inline]
    pub(crate) fn of(fields: Fields<'_>) -> Self {
        let mut connection = Self::default();
        if !fields.has(Known::Connection) {
            return connection;
        }
        for option in fields
            .all(Known::Connection)
            .flat_map(|line| elements(line.value))
        {
            connection.add(option);
        }
        connection
    }

    fn add(&mut self, option: &[u8]) {
        if option.eq_ignore_ascii_case(b"keep-alive") {
            self.keep_alive = true;
        } else if option.eq_ignore_ascii_case(b"close") {
            self.close = true;
        } else if option.eq_ignore_ascii_case(b"upgrade") {
            self.upgrade = true;
        } else if !option.eq_ignore_ascii_case(b"te") {
            self.names_fields = true;
        }
    }
}
