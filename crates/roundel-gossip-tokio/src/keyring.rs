//! The key ring file: a JSON list of keys in base64, the primary one first, as agents keep it.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A longer file is no key ring.
const LONGEST: u64 = 64 << 10;

/// Says why a key ring file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// It cannot be read or written.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// It is too long to be one.
    #[error("longer than {LONGEST} bytes")]
    TooLong,
    /// It is no JSON list of text.
    #[error("not a JSON list of keys")]
    Json,
    /// A key in it is none.
    #[error("key {0} is not base64 of 16, 24 or 32 bytes")]
    Key(usize),
    /// It holds no key.
    #[error("no key in it")]
    Empty,
}

/// Reads a key in the form of `serf keygen`: base64 of 16, 24 or 32 bytes.
pub fn parse_key(text: &str) -> Option<Vec<u8>> {
    let key = STANDARD.decode(text.trim()).ok()?;
    matches!(key.len(), 16 | 24 | 32).then_some(key)
}

/// Writes a key in the form of `serf keygen`.
pub fn show_key(key: &[u8]) -> String {
    STANDARD.encode(key)
}

/// Makes a key of 32 random bytes in the form of `serf keygen`.
///
/// Errors: the system gives no randomness.
pub fn new_key() -> Result<String, getrandom::Error> {
    let mut key = [0; 32];
    getrandom::fill(&mut key)?;
    Ok(show_key(&key))
}

/// Reads the file; nothing if there is none.
pub(crate) fn load(path: &Path) -> Result<Option<Vec<Vec<u8>>>, KeyringError> {
    let text = match roundel_files::read_secret(path, LONGEST) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == ErrorKind::FileTooLarge => return Err(KeyringError::TooLong),
        Err(error) => return Err(error.into()),
    };
    let texts: Vec<String> = serde_json::from_str(&text).map_err(|_| KeyringError::Json)?;
    let keys = texts.iter().enumerate();
    let keys: Vec<_> = keys
        .map(|(i, text)| parse_key(text).ok_or(KeyringError::Key(i + 1)))
        .collect::<Result<_, _>>()?;
    match keys.len() {
        0 => Err(KeyringError::Empty),
        _ => Ok(Some(keys)),
    }
}

/// Replaces the file by one that only its owner can read. Either the old or the new one is there
/// at any time.
pub(crate) fn save(path: &Path, keys: &[Vec<u8>]) -> Result<(), KeyringError> {
    let texts: Vec<String> = keys.iter().map(|key| show_key(key)).collect();
    let json = serde_json::to_string_pretty(&texts).map_err(|_| KeyringError::Json)?;
    let mut part = path.as_os_str().to_owned();
    part.push(".new");
    let part = PathBuf::from(part);
    // One left by a crash may be readable by others.
    let _ = std::fs::remove_file(&part);
    let saved = write(&part, json.as_bytes()).and_then(|()| std::fs::rename(&part, path));
    if saved.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    Ok(saved?)
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn keys_come_back_in_their_order_and_are_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ring.json");
        assert!(load(&path).unwrap().is_none());
        let keys = vec![vec![1; 32], vec![2; 16]];
        for _ in 0..2 {
            save(&path, &keys).unwrap();
            assert_eq!(load(&path).unwrap().unwrap(), keys);
        }
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for (text, error) in [
            ("[]", "no key in it"),
            ("{}", "not a JSON list of keys"),
            ("[\"AQID\"]", "key 1 is not base64 of 16, 24 or 32 bytes"),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(load(&path).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn what_cannot_be_saved_leaves_the_old_keys_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ring.json");
        // A folder in its place: all is written, and cannot be moved there.
        std::fs::create_dir_all(path.join("in the way")).unwrap();
        assert!(save(&path, &[vec![1; 32]]).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn new_keys_are_keys_and_differ() {
        let [a, b] = [new_key().unwrap(), new_key().unwrap()];
        assert_ne!(a, b);
        assert_eq!(parse_key(&a).unwrap().len(), 32);
        assert_eq!(parse_key("AQID"), None);
    }
}
