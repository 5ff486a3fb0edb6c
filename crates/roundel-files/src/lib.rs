//! Reads files that others write: configuration, keys, tokens, lists of servers, pages.
//!
//! Owns: what counts as a file that can be read, and how much of it.
//! Does not own: what is in it, and when it is read. A file may be on a disk that has gone: who must
//! not stand still reads on a thread of its own.
//! Invariant: what is no regular file (a pipe, a device, a socket) is never waited for.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, metadata};
use std::io::{Error, ErrorKind, Read, Result};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::OFlags;

/// What is read of any file at most, in bytes.
pub const LARGEST: u64 = 16 << 20;

/// Reads a regular file of at most `limit` bytes; links are followed.
///
/// Errors: as the system says; [`ErrorKind::InvalidInput`] for what is no regular file;
/// [`ErrorKind::FileTooLarge`].
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    take(&open(path)?, limit)
}

/// As [`read`], as text. Errors: also [`ErrorKind::InvalidData`] for what is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> Result<String> {
    text(read(path, limit)?)
}

/// As [`read_text`], for a secret: warns if others than its owner may do anything with the file, once
/// until its mode is another.
pub fn read_secret(path: &Path, limit: u64) -> Result<String> {
    let file = open(path)?;
    let mode = loose(&file)?;
    let mut known = LOOSE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = match mode {
        Some(mode) => known.insert(path.to_owned(), mode),
        None => known.remove(path),
    };
    drop(known);
    if let Some(mode) = mode.filter(|_| mode != before) {
        tracing::warn!("{}", warning(path, mode));
    }
    text(take(&file, limit)?)
}

/// What was warned of and is so still, one line for each file.
pub fn loose_secrets() -> Vec<String> {
    let known = LOOSE.lock().unwrap_or_else(PoisonError::into_inner);
    known
        .iter()
        .map(|(path, mode)| warning(path, *mode))
        .collect()
}

/// The modes of files with secrets that are not for their owners alone.
static LOOSE: Mutex<BTreeMap<PathBuf, u32>> = Mutex::new(BTreeMap::new());

fn warning(path: &Path, mode: u32) -> String {
    let path = path.display();
    format!("{path} holds a secret, and its mode is {mode:04o}; chmod 600 {path}")
}

/// The mode of a file that is not for its owner alone.
fn loose(file: &File) -> Result<Option<u32>> {
    let mode = file.metadata()?.mode() & 0o777;
    Ok((mode & 0o077 != 0).then_some(mode))
}

/// What is no file at first sight is not even opened, which can have effects; what has taken its place
/// since is opened without waiting for anybody.
fn open(path: &Path) -> Result<File> {
    if !metadata(path)?.is_file() {
        return Err(not_a_file());
    }
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags.bits() as i32);
    let file = options.open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(not_a_file()),
    }
}

fn not_a_file() -> Error {
    Error::new(ErrorKind::InvalidInput, "it is no regular file")
}

fn take(file: &File, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let text = format!("it is longer than {limit} bytes");
        return Err(Error::new(ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

fn text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| Error::new(ErrorKind::InvalidData, "it is not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn only_regular_files_are_read_and_nobody_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        symlink("/dev/zero", at("zeros")).unwrap();
        for name in ["pipe", "socket", "zeros", "."] {
            let error = read(&at(name), LARGEST).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}: {error}");
        }
        let error = read(&at("none"), LARGEST).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn files_are_read_through_links_up_to_their_limit() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "12345").unwrap();
        symlink("file", &link).unwrap();
        assert_eq!(read_text(&link, 5).unwrap(), "12345");
        let error = read_text(&link, 4).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        fs::write(&file, b"\xff").unwrap();
        let error = read_text(&file, 5).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn a_secret_that_others_can_read_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        fs::write(&file, "s").unwrap();
        let told = |lines: &[String]| {
            lines
                .iter()
                .any(|line| line.starts_with(&*file.to_string_lossy()))
        };
        for (mode, is_told) in [(0o600, false), (0o640, true), (0o640, true), (0o400, false)] {
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            assert_eq!(read_secret(&file, 1).unwrap(), "s");
            assert_eq!(told(&loose_secrets()), is_told, "{mode:o}");
        }
    }
}
