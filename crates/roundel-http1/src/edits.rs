//! Changes to a head, kept apart from it until it is written.

use smallvec::SmallVec;

use crate::fields::{Fields, Span, elements};
use crate::known::Known;
use crate::limits::Limits;
use crate::lines::Lines;
use crate::tokens;

const WORDS: usize = Limits::MOST_FIELDS / 64;

/// Lists what the writer does differently from the head as received.
///
/// Shape: removals and replacements by field index, then fields to append in order. Texts live in
/// reused buffers, so that a cleared `Edits` allocates nothing on its next use.
#[derive(Debug, Default)]
pub struct Edits {
    touched: [u64; WORDS],
    replaced: SmallVec<[(u16, Span); 4]>,
    text: Vec<u8>,
    appended: Lines,
}

impl Edits {
    /// Makes an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets every edit and keeps the buffers.
    pub fn clear(&mut self) {
        self.touched = [0; WORDS];
        self.replaced.clear();
        self.appended.clear();
        self.text.clear();
    }

    /// Says whether nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        self.keeps_all() && self.appended.bytes().is_empty()
    }

    /// Leaves the field at `index` out. Removing twice is the same as once.
    pub fn remove(&mut self, index: usize) {
        self.touch(index);
        self.replaced.retain(|(at, _)| usize::from(*at) != index);
    }

    /// Leaves every field of one kind out.
    pub fn remove_all(&mut self, fields: Fields<'_>, known: Known) {
        for line in fields.all(known) {
            self.remove(line.index);
        }
    }

    /// Leaves every field of one name out, those appended so far too, compared without case.
    pub fn remove_named(&mut self, fields: Fields<'_>, name: &[u8]) {
        let (bytes, list) = fields.raw();
        for (index, field) in list.iter().enumerate() {
            if field.name.len() == name.len() && field.name.of(bytes).eq_ignore_ascii_case(name) {
                self.remove(index);
            }
        }
        self.appended.remove(name);
    }

    /// Leaves the fields out that Connection names (RFC 9110, 7.6.1), except those that carry
    /// framing, routing, identity or cookies: naming them is an attack and is ignored.
    ///
    /// The hop-by-hop fields themselves need no edit; the writers always drop them. Call it only
    /// when `Connection::names_fields` says so, it is not free.
    pub fn remove_connection_named(&mut self, fields: Fields<'_>) {
        for line in fields.all(Known::Connection) {
            for option in elements(line.value) {
                if !Known::of(option).is_protected() && !is_forwarding(option) {
                    self.remove_named(fields, option);
                }
            }
        }
    }

    /// Gives the field at `index` another value.
    ///
    /// A value with forbidden bytes (controls) removes the field instead.
    pub fn replace(&mut self, index: usize, value: &[u8]) {
        self.replace_parts(index, &[value]);
    }

    /// Gives the field at `index` the parts one after the other as value, as [`Self::replace`] does.
    pub fn replace_parts(&mut self, index: usize, parts: &[&[u8]]) {
        self.remove(index);
        if let Some(value) = self.keep_value(parts) {
            // `remove` has made sure of the range.
            self.replaced.push((index as u16, value));
        }
    }

    /// Gives the field at `index` as value what `write` puts behind the text, if that says so; a
    /// value without a byte removes the field.
    ///
    /// Shape: the caller vouches that the bytes stood in the value of a field.
    pub fn rewrite(&mut self, index: usize, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        let start = self.text.len();
        if !write(&mut self.text) {
            self.text.truncate(start);
            return;
        }
        self.remove(index);
        if self.text.len() > start {
            let value = Span::new(start, self.text.len());
            // `remove` has made sure of the range.
            self.replaced.push((index as u16, value));
        }
    }

    /// Appends a field. A name that is no token or a value with forbidden bytes appends nothing.
    pub fn append(&mut self, name: &[u8], value: &[u8]) {
        self.append_parts(name, &[value]);
    }

    /// Appends a field whose value is the parts one after the other, as [`Self::append`] does.
    pub fn append_parts(&mut self, name: &[u8], parts: &[&[u8]]) {
        self.appended.push(name, parts);
    }

    /// Appends a recognised field, as [`Self::append_parts`] does and cheaper. `Other` appends nothing.
    #[inline]
    pub fn append_known(&mut self, known: Known, parts: &[&[u8]]) {
        self.appended.push_known(known, parts);
    }

    /// Appends fields that were rendered ahead.
    #[inline]
    pub fn append_lines(&mut self, lines: &Lines) {
        self.appended.extend(lines);
    }

    /// Goes through the fields as they are after the edits, without those of the connection and
    /// its framing: what a writer for another protocol than HTTP/1 passes on.
    pub fn apply<'a>(&'a self, fields: Fields<'a>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let kept = fields
            .iter()
            .filter(|line| !line.known.is_hop_by_hop())
            .filter_map(|line| match self.is_touched(line.index) {
                true => Some((line.name, self.replacement(line.index)?)),
                false => Some((line.name, line.value)),
            });
        kept.chain(self.appended.iter())
    }

    /// Says whether the field at `index` is left out or has another value.
    #[inline]
    pub fn is_touched(&self, index: usize) -> bool {
        self.touched[index / 64] & (1 << (index % 64)) != 0
    }

    /// Returns the new value of a touched field, `None` when it is removed.
    pub(crate) fn replacement(&self, index: usize) -> Option<&[u8]> {
        self.replaced
            .iter()
            .find(|(at, _)| usize::from(*at) == index)
            .map(|(_, value)| value.of(&self.text))
    }

    #[inline]
    pub(crate) fn appended(&self) -> &[u8] {
        self.appended.bytes()
    }

    /// Says whether no field as received is left out or changed.
    #[inline]
    pub(crate) fn keeps_all(&self) -> bool {
        self.touched == [0; WORDS]
    }

    /// Counts the bytes that replacing and appending may add to a head.
    pub(crate) fn added(&self) -> usize {
        self.text.len() + self.appended.bytes().len()
    }

    fn touch(&mut self, index: usize) {
        assert!(index < Limits::MOST_FIELDS, "no head has that many fields");
        self.touched[index / 64] |= 1 << (index % 64);
    }

    /// Keeps a value made of parts, unless it holds forbidden bytes.
    #[inline]
    fn keep_value(&mut self, parts: &[&[u8]]) -> Option<Span> {
        if !parts.iter().all(|part| tokens::is_value(part)) {
            return None;
        }
        let start = self.text.len();
        for part in parts {
            self.text.extend_from_slice(part);
        }
        Some(Span::new(start, self.text.len()))
    }
}

fn is_forwarding(name: &[u8]) -> bool {
    const PREFIX: &[u8] = b"x-forwarded-";
    name.len() > PREFIX.len() && name[..PREFIX.len()].eq_ignore_ascii_case(PREFIX)
}
