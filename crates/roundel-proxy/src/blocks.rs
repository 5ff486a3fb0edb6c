//! A worker's store of buffers: taken while a request lives, given back when it ends.

use std::cell::RefCell;

use roundel_http1::{Block, Edits};

/// Bytes of a block: a browser's head and a small body fit, as does one read of a large body.
pub(crate) const BLOCK: usize = 16 * 1024;
/// Free blocks kept; 1 MiB per worker.
const KEPT: usize = 64;

/// Free buffers of one worker.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    free: RefCell<Vec<Block>>,
    edits: RefCell<Vec<Edits>>,
}

impl Blocks {
    /// Takes an empty block of at least [`BLOCK`] bytes.
    pub(crate) fn take(&self) -> Block {
        let free = self.free.borrow_mut().pop();
        free.unwrap_or_else(|| Block::with_capacity(BLOCK))
    }

    /// Gives a block back; what a large head or body made of it is freed.
    pub(crate) fn give(&self, mut block: Block) {
        let mut free = self.free.borrow_mut();
        if free.len() < KEPT && block.capacity() >= BLOCK {
            block.shrink(BLOCK);
            free.push(block);
        }
    }

    /// Takes an empty list of edits.
    pub(crate) fn take_edits(&self) -> Edits {
        self.edits.borrow_mut().pop().unwrap_or_default()
    }

    /// Gives a list of edits back.
    pub(crate) fn give_edits(&self, mut edits: Edits) {
        let mut kept = self.edits.borrow_mut();
        if kept.len() < KEPT {
            edits.clear();
            kept.push(edits);
        }
    }
}
