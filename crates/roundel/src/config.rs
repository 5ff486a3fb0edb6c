//! From a TOML file, flags and variables to typed settings.
//!
//! `reader` walks the parsed file and collects every problem with its place; `file` holds what
//! the file says, typed and with spans; `resolve` merges flag over variable over file over
//! default and checks what only makes sense together; `print` shows the result.

mod file;
mod interpolate;
mod json;
mod print;
mod problem;
mod reader;
mod resolve;
mod settings;
mod source;

pub(crate) use file::{check_word, cookie_name, cookie_prefix, policy};
pub use problem::{Problem, Problems};
pub(crate) use reader::choose;
pub use resolve::{LoadError, read_text};
pub(crate) use resolve::{load, read_key};
pub use settings::*;
pub use source::Source;

#[cfg(test)]
mod tests;
