//! A worker's store of buffers: taken while a request lives, given back when it ends.

use std::cell::RefCell;

use roundel_http1::{Block, Edits, RequestHead, ResponseHead};

/// Bytes of a block: a browser's head and a small body fit, as does one read of a large body.
pub(crate) const BLOCK: usize = 16 * 1024;
/// Free ones kept of each kind; 3 MiB per worker.
const KEPT: usize = 64;

/// Free buffers of one worker.
#[derive(Debug, Default)]
// Heads are boxed because they move from task to task; the boxes are what is kept.
#[expect(clippy::vec_box)]
pub(crate) struct Blocks {
    blocks: RefCell<Vec<Block>>,
    requests: RefCell<Vec<Box<RequestHead>>>,
    responses: RefCell<Vec<Box<ResponseHead>>>,
    edits: RefCell<Vec<Edits>>,
}

impl Blocks {
    /// Takes an empty block of [`BLOCK`] bytes.
    pub(crate) fn take(&self) -> Block {
        let free = self.blocks.borrow_mut().pop();
        free.unwrap_or_else(|| Block::with_capacity(BLOCK))
    }

    /// Gives a block back.
    pub(crate) fn give(&self, mut block: Block) {
        if tidy(&mut block) {
            keep(&self.blocks, block);
        }
    }

    /// Takes an empty head whose block has [`BLOCK`] bytes.
    pub(crate) fn take_request(&self) -> Box<RequestHead> {
        let free = self.requests.borrow_mut().pop();
        free.unwrap_or_else(|| {
            let mut head = Box::new(RequestHead::new());
            head.block = Block::with_capacity(BLOCK);
            head
        })
    }

    /// Gives a head back; what is left in its block is forgotten.
    pub(crate) fn give_request(&self, mut head: Box<RequestHead>) {
        head.reset();
        if tidy(&mut head.block) {
            keep(&self.requests, head);
        }
    }

    /// Takes an empty head whose block has [`BLOCK`] bytes.
    pub(crate) fn take_response(&self) -> Box<ResponseHead> {
        let free = self.responses.borrow_mut().pop();
        free.unwrap_or_else(|| {
            let mut head = Box::new(ResponseHead::new());
            head.block = Block::with_capacity(BLOCK);
            head
        })
    }

    /// Gives a head back; what is left in its block is forgotten.
    pub(crate) fn give_response(&self, mut head: Box<ResponseHead>) {
        head.reset();
        if tidy(&mut head.block) {
            keep(&self.responses, head);
        }
    }

    /// Takes an empty list of edits.
    pub(crate) fn take_edits(&self) -> Edits {
        self.edits.borrow_mut().pop().unwrap_or_default()
    }

    /// Gives a list of edits back.
    pub(crate) fn give_edits(&self, mut edits: Edits) {
        edits.clear();
        keep(&self.edits, edits);
    }
}

/// Empties a block and frees what a large head or body made of it; false when it is too small
/// to be of use again.
fn tidy(block: &mut Block) -> bool {
    block.shrink(BLOCK);
    block.capacity() >= BLOCK
}

fn keep<T>(store: &RefCell<Vec<T>>, one: T) {
    let mut store = store.borrow_mut();
    if store.len() < KEPT {
        store.push(one);
    }
}
