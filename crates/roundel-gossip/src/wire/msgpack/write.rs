//! The writing half.

/// Appends values to a buffer.
///
/// The caller announces how many entries a list or a map has and then writes exactly those.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Writes behind what `out` holds already.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Writes the absent value.
    pub fn nil(&mut self) {
        self.out.push(0xc0);
    }

    /// Writes a boolean.
    pub fn bool(&mut self, value: bool) {
        self.out.push(if value { 0xc3 } else { 0xc2 });
    }

    /// Writes a number in its shortest unsigned form.
    pub fn uint(&mut self, value: u64) {
        if value < 0x80 {
            self.out.push(value as u8);
        } else if let Ok(value) = u8::try_from(value) {
            self.out.extend_from_slice(&[0xcc, value]);
        } else if let Ok(value) = u16::try_from(value) {
            self.marked(0xcd, &value.to_be_bytes());
        } else if let Ok(value) = u32::try_from(value) {
            self.marked(0xce, &value.to_be_bytes());
        } else {
            self.marked(0xcf, &value.to_be_bytes());
        }
    }

    /// Writes text or bytes.
    ///
    /// Panics: if `bytes` is longer than `u32::MAX`, which no caller can build from bounded parts.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.raw_header(bytes.len());
        self.out.extend_from_slice(bytes);
    }

    /// Writes text or bytes, or the absent value.
    pub fn raw_or_nil(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.raw(bytes),
            None => self.nil(),
        }
    }

    /// Writes a key of a map.
    pub fn key(&mut self, name: &str) {
        self.raw(name.as_bytes());
    }

    /// Opens a list of `count` values.
    pub fn array(&mut self, count: usize) {
        self.header(count, 0x90, 0xdc);
    }

    /// Opens a map of `count` pairs.
    pub fn map(&mut self, count: usize) {
        self.header(count, 0x80, 0xde);
    }

    fn raw_header(&mut self, len: usize) {
        if len < 32 {
            self.out.push(0xa0 | len as u8);
        } else {
            self.wide(len, 0xda);
        }
    }

    fn header(&mut self, count: usize, small: u8, wide: u8) {
        if count < 16 {
            self.out.push(small | count as u8);
        } else {
            self.wide(count, wide);
        }
    }

    /// Writes a length in 16 bits, or under the next marker in 32.
    fn wide(&mut self, len: usize, marker: u8) {
        if let Ok(len) = u16::try_from(len) {
            self.marked(marker, &len.to_be_bytes());
        } else {
            let len = u32::try_from(len).expect("a value fits in 4 GiB: all inputs are bounded");
            self.marked(marker + 1, &len.to_be_bytes());
        }
    }

    fn marked(&mut self, marker: u8, bytes: &[u8]) {
        self.out.push(marker);
        self.out.extend_from_slice(bytes);
    }
}
