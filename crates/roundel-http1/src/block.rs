//! A reusable byte buffer with a pinned prefix.

/// Capacity of the first storage a block takes: a browser's head fits in.
const FIRST: usize = 4096;

/// Holds bytes between a socket and the codec; meant to be pooled.
///
/// Shape: one storage, cut as `[pinned head][consumed][filled][spare]`. The pinned part belongs
/// to a parsed head and never moves until that head is reset, so that its spans stay valid while
/// the body behind it is read and consumed. A block without storage costs no heap.
#[derive(Debug, Default)]
pub struct Block {
    data: Vec<u8>,
    pinned: usize,
    start: usize,
    end: usize,
}

impl Block {
    /// Makes a block without storage.
    pub const fn new() -> Self {
        Self {
            data: Vec::new(),
            pinned: 0,
            start: 0,
            end: 0,
        }
    }

    /// Makes a block with `capacity` bytes of storage.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            data: vec![0; capacity],
            ..Self::new()
        }
    }

    /// Returns the bytes that were put or read in and not yet consumed.
    #[inline]
    pub fn filled(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    /// Counts the filled bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Says whether nothing is filled.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Counts the bytes of storage held.
    pub fn capacity(&self) -> usize {
        self.data.len()
    }

    /// Returns the place to read into; its contents are stale bytes. May be empty: see [`Self::make_room`].
    #[inline]
    pub fn spare_mut(&mut self) -> &mut [u8] {
        &mut self.data[self.end..]
    }

    /// Declares the first `n` bytes of the spare part as filled.
    ///
    /// Panics: when `n` exceeds the spare part.
    #[inline]
    pub fn advance(&mut self, n: usize) {
        assert!(
            n <= self.data.len() - self.end,
            "advance beyond the spare part"
        );
        self.end += n;
    }

    /// Drops the first `n` filled bytes.
    ///
    /// Panics: when `n` exceeds the filled part.
    #[inline]
    pub fn consume(&mut self, n: usize) {
        assert!(n <= self.len(), "consume beyond the filled part");
        self.start += n;
        if self.start == self.end {
            self.start = self.pinned;
            self.end = self.pinned;
        }
    }

    /// Makes the spare part non-empty, by moving filled bytes down or by growing to at most `limit`
    /// bytes of storage (doubling, from 4 KiB).
    ///
    /// Returns false, with nothing changed, when the storage is full and may not grow.
    pub fn make_room(&mut self, limit: usize) -> bool {
        if self.end < self.data.len() {
            return true;
        }
        if self.start > self.pinned {
            self.compact();
            return true;
        }
        let size = (self.data.len() * 2).max(FIRST).min(limit);
        if size <= self.data.len() {
            return false;
        }
        self.grow_to(size);
        true
    }

    /// Appends bytes, growing without limit.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.data[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// Appends `name: value` and CRLF, growing without limit.
    ///
    /// Inlined by force: saving registers around it costs as much as its copies, once a field.
    #[inline(always)]
    pub(crate) fn put_line(&mut self, name: &[u8], value: &[u8]) {
        let length = name.len() + value.len() + 4;
        self.reserve(length);
        let (text, rest) = self.data[self.end..self.end + length].split_at_mut(name.len());
        text.copy_from_slice(name);
        let (colon, rest) = rest.split_at_mut(2);
        colon.copy_from_slice(b": ");
        let (text, end) = rest.split_at_mut(value.len());
        text.copy_from_slice(value);
        end.copy_from_slice(b"\r\n");
        self.end += length;
    }

    /// Makes the spare part at least `n` bytes long, growing without limit.
    #[inline]
    pub fn reserve(&mut self, n: usize) {
        if self.data.len() - self.end < n {
            self.reserve_slow(n);
        }
    }

    /// Empties the block and keeps its storage. A head that owns the block is reset instead.
    pub fn clear(&mut self) {
        self.pinned = 0;
        self.start = 0;
        self.end = 0;
    }

    /// Empties the block and gives storage above `keep` bytes back.
    pub fn shrink(&mut self, keep: usize) {
        self.clear();
        if self.data.len() > keep {
            self.data.truncate(keep);
            self.data.shrink_to_fit();
        }
    }

    /// Returns the whole storage, to which spans refer.
    #[inline]
    pub(crate) fn storage(&self) -> &[u8] {
        &self.data
    }

    /// Returns where the filled part begins in the storage.
    #[inline]
    pub(crate) fn offset(&self) -> usize {
        self.start
    }

    /// Turns the first `n` filled bytes into the pinned head.
    #[inline]
    pub(crate) fn pin(&mut self, n: usize) {
        assert!(n <= self.len(), "pin beyond the filled part");
        self.start += n;
        self.pinned = self.start;
    }

    /// Gives the pinned head up; what is filled stays filled.
    pub(crate) fn unpin(&mut self) {
        self.pinned = 0;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    fn compact(&mut self) {
        self.data.copy_within(self.start..self.end, self.pinned);
        self.end -= self.start - self.pinned;
        self.start = self.pinned;
    }

    #[cold]
    fn reserve_slow(&mut self, n: usize) {
        if self.start > self.pinned {
            self.compact();
        }
        let needed = self.end + n;
        if needed > self.data.len() {
            self.grow_to(needed.max(self.data.len() * 2).max(FIRST));
        }
    }

    fn grow_to(&mut self, size: usize) {
        self.data.reserve_exact(size - self.data.len());
        self.data.resize(size, 0);
    }
}
