//! Parsed fields: spans into a block, and a view that reads them.

use crate::known::Known;

/// Marks a range of bytes in the block of the head that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Marks `start..end`; storages stay below 4 GiB because heads are limited.
    #[inline]
    pub(crate) fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && u32::try_from(end).is_ok());
        Self {
            start: start as u32,
            end: end as u32,
        }
    }

    #[inline]
    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }

    #[inline]
    pub(crate) fn start(self) -> usize {
        self.start as usize
    }

    #[inline]
    pub(crate) fn end(self) -> usize {
        self.end as usize
    }

    /// Counts the bytes marked.
    #[inline]
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Says whether nothing is marked.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// Locates one field line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// What the name was recognised as.
    pub known: Known,
    /// Where the name is.
    pub name: Span,
    /// Where the value is, without white space around it.
    pub value: Span,
}

impl Field {
    /// Says whether its line stands in `bytes` as a writer would give it: `name: value` and CRLF.
    #[inline]
    pub(crate) fn is_canonical(&self, bytes: &[u8]) -> bool {
        let (name_end, value_end) = (self.name.end(), self.value.end());
        self.value.start() == name_end + 2
            && bytes.get(name_end..name_end + 2) == Some(b": ")
            && bytes.get(value_end..value_end + 2) == Some(b"\r\n")
    }
}

/// One field as bytes, with the index that `Edits` use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// Position among the fields of the head.
    pub index: usize,
    /// What the name was recognised as.
    pub known: Known,
    /// The name as received.
    pub name: &'a [u8],
    /// The value without white space around it.
    pub value: &'a [u8],
}

/// Reads the fields of one head, in the order received.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    list: &'a [Field],
    present: u64,
}

impl<'a> Fields<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8], list: &'a FieldList) -> Self {
        Self {
            bytes,
            list: &list.list,
            present: list.present,
        }
    }

    /// Counts the field lines.
    pub fn len(self) -> usize {
        self.list.len()
    }

    /// Says whether there is no field.
    pub fn is_empty(self) -> bool {
        self.list.is_empty()
    }

    /// Says whether a field of this kind is there; O(1). `Other` means any unrecognised field.
    #[inline]
    pub fn has(self, known: Known) -> bool {
        self.present & known.bit() != 0
    }

    /// Says whether a field of one of these kinds is there; O(1) for a constant list.
    #[inline]
    pub fn has_any(self, kinds: &[Known]) -> bool {
        let set = kinds.iter().fold(0, |set, known| set | known.bit());
        self.present & set != 0
    }

    /// Returns the field at `index`, the order received.
    ///
    /// Panics: when there is no such field.
    pub fn line(self, index: usize) -> Line<'a> {
        let field = self.list[index];
        Line {
            index,
            known: field.known,
            name: field.name.of(self.bytes),
            value: field.value.of(self.bytes),
        }
    }

    /// Goes through all fields.
    pub fn iter(self) -> impl Iterator<Item = Line<'a>> {
        (0..self.list.len()).map(move |index| self.line(index))
    }

    /// Goes through the fields of one kind; costs nothing when there is none.
    #[inline]
    pub fn all(self, known: Known) -> impl Iterator<Item = Line<'a>> {
        let list = if self.has(known) { self.list } else { &[] };
        list.iter()
            .enumerate()
            .filter(move |(_, field)| field.known == known)
            .map(move |(index, _)| self.line(index))
    }

    /// Returns the value of the first field of one kind.
    #[inline]
    pub fn first(self, known: Known) -> Option<&'a [u8]> {
        self.all(known).next().map(|line| line.value)
    }

    /// Goes through the fields of one name, compared without case.
    pub fn named(self, name: &'a [u8]) -> impl Iterator<Item = Line<'a>> {
        self.iter()
            .filter(move |line| line.name.eq_ignore_ascii_case(name))
    }

    /// Says whether the list fields of one kind hold a token, compared without case.
    pub fn has_token(self, known: Known, token: &[u8]) -> bool {
        self.has(known)
            && self
                .all(known)
                .flat_map(|line| elements(line.value))
                .any(|element| element.eq_ignore_ascii_case(token))
    }

    #[inline]
    pub(crate) fn raw(self) -> (&'a [u8], &'a [Field]) {
        (self.bytes, self.list)
    }
}

/// Splits a comma-separated value; empty elements are left out (RFC 9110, 5.6.1).
pub(crate) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// Collects fields while parsing; reused from head to head.
#[derive(Debug, Default)]
pub(crate) struct FieldList {
    pub(crate) list: Vec<Field>,
    pub(crate) present: u64,
}

impl FieldList {
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.present = 0;
    }

    /// Goes through the fields of one kind.
    #[inline]
    pub(crate) fn all(&self, known: Known) -> impl Iterator<Item = &Field> {
        let list = if self.present & known.bit() != 0 {
            &self.list[..]
        } else {
            &[]
        };
        list.iter().filter(move |field| field.known == known)
    }

    #[inline]
    pub(crate) fn push(&mut self, field: Field) {
        self.present |= field.known.bit();
        self.list.push(field);
    }
}
