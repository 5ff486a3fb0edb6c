//! The reading half.

use super::super::limits;

/// Why bytes are not the value that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The bytes end inside a value; more may complete it.
    #[error("the value is cut off")]
    Truncated,
    /// A value of another kind stands here.
    #[error("expected {expected}, found marker {found:#04x}")]
    Kind {
        /// What the reader looked for.
        expected: &'static str,
        /// The marker that stands there.
        found: u8,
    },
    /// A number does not fit its field.
    #[error("number out of range")]
    Range,
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    NotText,
    /// Text or bytes over the limit of their field.
    #[error("{0} bytes are over the limit of the field")]
    TooLong(usize),
    /// Lists and maps nested deeper than [`limits::DEPTH`].
    #[error("nested too deeply")]
    Depth,
    /// A list or map longer than allowed here.
    #[error("too many values")]
    Count,
}

/// Takes values from the front of a byte slice without copying.
///
/// Invariant: a count is believed only as far as bytes are left, so nothing is ever allocated for
/// values that cannot be there.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    values_left: usize,
}

impl<'a> Reader<'a> {
    /// Reads from the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::with_values(bytes, usize::MAX)
    }

    /// Reads from the front of `bytes`, and refuses more than `values` values.
    pub fn with_values(bytes: &'a [u8], values: usize) -> Self {
        Self {
            rest: bytes,
            values_left: values,
        }
    }

    /// Returns what has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Steps over the absent value if it stands here, and says whether it did.
    pub fn nil(&mut self) -> bool {
        if let [0xc0, rest @ ..] = self.rest {
            self.rest = rest;
            return true;
        }
        false
    }

    /// Reads a boolean; absent is false.
    pub fn bool(&mut self) -> Result<bool, ReadError> {
        match self.marker()? {
            0xc0 | 0xc2 => Ok(false),
            0xc3 => Ok(true),
            found => Err(kind("a boolean", found)),
        }
    }

    /// Reads a number of any integer form; absent is 0.
    ///
    /// Errors: negative numbers and those that `T` cannot hold are out of range.
    pub fn uint<T: TryFrom<u64>>(&mut self) -> Result<T, ReadError> {
        let value = self.integer()?;
        let value = u64::try_from(value).map_err(|_| ReadError::Range)?;
        T::try_from(value).map_err(|_| ReadError::Range)
    }

    /// Reads a number of any integer form and either sign; absent is 0.
    pub fn integer(&mut self) -> Result<i128, ReadError> {
        Ok(match self.marker()? {
            small @ 0x00..=0x7f => i128::from(small),
            negative @ 0xe0..=0xff => i128::from(negative as i8),
            0xc0 => 0,
            0xcc => i128::from(u8::from_be_bytes(self.array_of()?)),
            0xcd => i128::from(u16::from_be_bytes(self.array_of()?)),
            0xce => i128::from(u32::from_be_bytes(self.array_of()?)),
            0xcf => i128::from(u64::from_be_bytes(self.array_of()?)),
            0xd0 => i128::from(i8::from_be_bytes(self.array_of()?)),
            0xd1 => i128::from(i16::from_be_bytes(self.array_of()?)),
            0xd2 => i128::from(i32::from_be_bytes(self.array_of()?)),
            0xd3 => i128::from(i64::from_be_bytes(self.array_of()?)),
            found => return Err(kind("a number", found)),
        })
    }

    /// Reads text or bytes in any of their forms; absent is `None`.
    pub fn raw(&mut self) -> Result<Option<&'a [u8]>, ReadError> {
        let len = match self.marker()? {
            0xc0 => return Ok(None),
            short @ 0xa0..=0xbf => usize::from(short & 0x1f),
            0xd9 | 0xc4 => usize::from(u8::from_be_bytes(self.array_of()?)),
            0xda | 0xc5 => usize::from(u16::from_be_bytes(self.array_of()?)),
            0xdb | 0xc6 => u32::from_be_bytes(self.array_of()?) as usize,
            found => return Err(kind("text or bytes", found)),
        };
        self.take(len).map(Some)
    }

    /// Reads text of at most `limit` bytes; absent is empty.
    pub fn text(&mut self, limit: usize) -> Result<&'a str, ReadError> {
        let bytes = self.raw()?.unwrap_or_default();
        if bytes.len() > limit {
            return Err(ReadError::TooLong(bytes.len()));
        }
        std::str::from_utf8(bytes).map_err(|_| ReadError::NotText)
    }

    /// Opens a list and returns its length; absent is `None`.
    pub fn array(&mut self) -> Result<Option<usize>, ReadError> {
        let count = match self.marker()? {
            0xc0 => return Ok(None),
            small @ 0x90..=0x9f => usize::from(small & 0x0f),
            0xdc => usize::from(u16::from_be_bytes(self.array_of()?)),
            0xdd => u32::from_be_bytes(self.array_of()?) as usize,
            found => return Err(kind("a list", found)),
        };
        self.check_count(count).map(Some)
    }

    /// Opens a map and returns the number of its pairs; absent is 0.
    pub fn map(&mut self) -> Result<usize, ReadError> {
        let count = match self.marker()? {
            0xc0 => 0,
            small @ 0x80..=0x8f => usize::from(small & 0x0f),
            0xde => usize::from(u16::from_be_bytes(self.array_of()?)),
            0xdf => u32::from_be_bytes(self.array_of()?) as usize,
            found => return Err(kind("a map", found)),
        };
        self.check_count(count.saturating_mul(2))?;
        Ok(count)
    }

    /// Steps over one value of any kind.
    pub fn skip(&mut self) -> Result<(), ReadError> {
        self.skip_at(limits::DEPTH)
    }

    /// Steps over one value and returns its bytes.
    pub fn value(&mut self) -> Result<&'a [u8], ReadError> {
        let before = self.rest;
        self.skip()?;
        Ok(&before[..before.len() - self.rest.len()])
    }

    fn skip_at(&mut self, depth: usize) -> Result<(), ReadError> {
        let Some(&marker) = self.rest.first() else {
            return Err(ReadError::Truncated);
        };
        let children = match marker {
            0x80..=0x8f | 0xde | 0xdf => self.map()?.saturating_mul(2),
            0x90..=0x9f | 0xdc | 0xdd => self.array()?.unwrap_or(0),
            0xa0..=0xbf | 0xc4..=0xc6 | 0xd9..=0xdb => return self.raw().map(drop),
            _ => return self.skip_scalar(),
        };
        if depth == 0 {
            return Err(ReadError::Depth);
        }
        (0..children).try_for_each(|_| self.skip_at(depth - 1))
    }

    /// Steps over numbers, booleans, floats, the absent value, and the extension types.
    fn skip_scalar(&mut self) -> Result<(), ReadError> {
        let len = match self.marker()? {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => 0,
            0xcc | 0xd0 => 1,
            0xcd | 0xd1 | 0xd4 => 2,
            0xd5 => 3,
            0xca | 0xce | 0xd2 => 4,
            0xd6 => 5,
            0xcb | 0xcf | 0xd3 => 8,
            0xd7 => 9,
            0xd8 => 17,
            0xc7 => 1 + usize::from(u8::from_be_bytes(self.array_of()?)),
            0xc8 => 1 + usize::from(u16::from_be_bytes(self.array_of()?)),
            0xc9 => 1 + u32::from_be_bytes(self.array_of()?) as usize,
            found => return Err(kind("a value", found)),
        };
        self.take(len).map(drop)
    }

    /// Refuses a count for which not enough bytes are left, each value taking at least one.
    fn check_count(&self, count: usize) -> Result<usize, ReadError> {
        if count > self.values_left {
            return Err(ReadError::Count);
        }
        if count > self.rest.len() {
            return Err(ReadError::Truncated);
        }
        Ok(count)
    }

    fn marker(&mut self) -> Result<u8, ReadError> {
        let (&marker, rest) = self.rest.split_first().ok_or(ReadError::Truncated)?;
        self.values_left = self.values_left.checked_sub(1).ok_or(ReadError::Count)?;
        self.rest = rest;
        Ok(marker)
    }

    fn array_of<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(ReadError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], ReadError> {
        let (head, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(ReadError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }
}

/// Reads a map with text keys, handing each key and the reader at its value to `field`.
///
/// `field` must read or skip exactly one value.
pub(in crate::wire) fn read_map<'a>(
    r: &mut Reader<'a>,
    mut field: impl FnMut(&'a [u8], &mut Reader<'a>) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    for _ in 0..r.map()? {
        let key = r.raw()?.unwrap_or_default();
        field(key, r)?;
    }
    Ok(())
}

/// Says whether `bytes` start with one value written only with markers that the oldest agents know.
///
/// Shape: true for a whole value without `str8`, the `bin` family and extensions; bytes behind the
/// value are not looked at.
pub fn is_old_spec(bytes: &[u8]) -> bool {
    fn walk(r: &mut Reader<'_>, depth: usize) -> Result<bool, ReadError> {
        let Some(&marker) = r.rest().first() else {
            return Ok(false);
        };
        let children = match marker {
            0x80..=0x8f | 0xde | 0xdf => r.map()? * 2,
            0x90..=0x9f | 0xdc | 0xdd => r.array()?.unwrap_or(0),
            0xc1 | 0xc4..=0xc9 | 0xd4..=0xd9 => return Ok(false),
            _ => return r.skip().map(|()| true),
        };
        if depth == 0 {
            return Err(ReadError::Depth);
        }
        for _ in 0..children {
            if !walk(r, depth - 1)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
    walk(&mut Reader::new(bytes), limits::DEPTH).unwrap_or(false)
}

fn kind(expected: &'static str, found: u8) -> ReadError {
    ReadError::Kind { expected, found }
}
