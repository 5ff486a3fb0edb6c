//! Pages that stand for Roundel's own small answers.

use std::collections::BTreeMap;

use bytes::Bytes;

/// Error pages by status; 4 and 5 stand for every status of that class which has none.
pub type ErrorPages = BTreeMap<u16, Page>;

/// One page, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The value of Content-Type.
    pub content_type: &'static str,
    /// What is sent.
    pub body: Bytes,
}

/// The page for a status.
pub(crate) fn find(pages: &ErrorPages, status: u16) -> Option<&Page> {
    pages.get(&status).or_else(|| pages.get(&(status / 100)))
}
