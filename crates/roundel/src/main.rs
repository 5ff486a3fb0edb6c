//! The `roundel` program; everything is in the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    roundel::run(std::env::args_os())
}
