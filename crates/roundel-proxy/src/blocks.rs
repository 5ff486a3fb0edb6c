//! A worker's store of buffers: taken when something is read or written, given back when it is gone.
//!
//! A request that waits for its server holds its own bytes only. The buffers that come and go are the
//! same few again and again, which the processor's caches have.

use std::mem::take;

use roundel_http1::{Block, RequestHead, ResponseHead};

use crate::store::Store;

/// Bytes of a block: a browser's head and a small body fit, as does one read of a large body.
pub(crate) const BLOCK: usize = 16 * 1024;

/// Bytes of a block for the head of a stream, which is translated from another form: nothing else is
/// read into it.
const SMALL: usize = 4 * 1024;

/// Free buffers of one worker.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    blocks: Store<Block>,
    requests: Store<Box<RequestHead>>,
    /// Those of streams.
    translated: Store<Box<RequestHead>>,
    responses: Store<Box<ResponseHead>>,
}

impl Blocks {
    /// Takes an empty block of [`BLOCK`] bytes.
    pub(crate) fn take(&self) -> Block {
        let free = self.blocks.take();
        free.unwrap_or_else(|| Block::with_capacity(BLOCK))
    }

    /// How many empty blocks nobody has.
    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.blocks.len()
    }

    /// Takes a block back; one without storage is left in its place.
    pub(crate) fn give(&self, block: &mut Block) {
        match tidy(block) {
            true => self.blocks.give(take(block)),
            false => *block = Block::new(),
        }
    }

    /// Takes an empty head whose block has [`BLOCK`] bytes.
    pub(crate) fn take_request(&self) -> Box<RequestHead> {
        self.requests.take().unwrap_or_else(|| {
            let mut head = Box::new(RequestHead::new());
            head.block = Block::with_capacity(BLOCK);
            head
        })
    }

    /// Gives a head back; what is left in its block is forgotten.
    pub(crate) fn give_request(&self, mut head: Box<RequestHead>) {
        head.reset();
        if tidy(&mut head.block) {
            self.requests.give(head);
        }
    }

    /// Takes an empty head for a request of a stream; its block grows as it is written.
    pub(crate) fn take_translated(&self) -> Box<RequestHead> {
        self.translated.take().unwrap_or_default()
    }

    /// Gives such a head back.
    pub(crate) fn give_translated(&self, mut head: Box<RequestHead>) {
        head.reset();
        head.block.shrink(SMALL);
        self.translated.give(head);
    }

    /// Takes an empty head whose block has no storage yet: nothing is read before a server answers.
    pub(crate) fn take_response(&self) -> Box<ResponseHead> {
        self.responses.take().unwrap_or_default()
    }

    /// Gives a head and its block back; what is left in the block is forgotten.
    pub(crate) fn give_response(&self, mut head: Box<ResponseHead>) {
        head.reset();
        self.give(&mut head.block);
        self.responses.give(head);
    }

    /// Lets half of what was not needed since the last sweep go.
    pub(crate) fn sweep(&self) {
        self.blocks.sweep();
        self.requests.sweep();
        self.translated.sweep();
        self.responses.sweep();
    }
}

/// Empties a block and frees what a large head or body made of it; false when it is too small
/// to be of use again.
fn tidy(block: &mut Block) -> bool {
    block.shrink(BLOCK);
    block.capacity() >= BLOCK
}
