//! The `roundel` program; everything is in `roundel-program`.
//!
//! A crate of its own, as its optimisation level decides how far the optimiser goes when everything is
//! linked: this one is built for speed, and what no request passes is built small.

use std::process::ExitCode;

/// What a flood has taken is given back to the system soon after it. C libraries keep it for as long
/// as anything that lives on lies above it, and musl's also takes a lock for each piece.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    roundel_program::run(std::env::args_os())
}
