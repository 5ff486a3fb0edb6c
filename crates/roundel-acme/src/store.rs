//! What outlives the process: files in the state directory.
//!
//! Each CA has a directory of its own there, so that what a test CA issued is never served for the
//! real one. In it: `account.json`, and for each set of names `NAME_HASH.json` (the order in flight,
//! earlier tries), `NAME_HASH.pem` (chain and key) and `NAME_HASH.lock`.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::schedule::Tries;
use crate::shared;

/// No file of ours comes near.
const LARGEST: u64 = 1 << 20;

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum StoreError {
    #[error("{path}: {error}; it must be a directory that the user {user} may write to", path = .path.display())]
    Directory {
        path: PathBuf,
        user: u32,
        error: io::Error,
    },
    #[error("{path} belongs to the user {owner}, and this process runs as {user}; chown -R {user} {path}", path = .path.display())]
    Owner {
        path: PathBuf,
        owner: u32,
        user: u32,
    },
    #[error("{path}: {error}", path = .path.display())]
    File { path: PathBuf, error: io::Error },
    /// Without what stands there, which may be a key.
    #[error("{path} cannot be understood (line {line}, column {column}); mend it or take it away", path = .path.display())]
    Broken {
        path: PathBuf,
        line: usize,
        column: usize,
    },
}

/// The account with the CA.
#[derive(Serialize, Deserialize)]
pub(crate) struct Account {
    /// Its key, PKCS#8 in PEM.
    pub(crate) key: String,
    /// Its address; `None` until the CA has told it.
    pub(crate) url: Option<String>,
}

/// How far the certificate of a set of names has come.
#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Progress {
    pub(crate) order: Option<Flight>,
    pub(crate) failures: u32,
    /// No try before; seconds since 1970, as all times here.
    pub(crate) next_try: Option<u64>,
    pub(crate) last_order: Option<u64>,
    pub(crate) last_error: Option<String>,
    /// The balancer that is at it, of several that share.
    pub(crate) at_work: Option<String>,
}

/// An order in flight.
#[derive(PartialEq, Serialize, Deserialize)]
pub(crate) struct Flight {
    pub(crate) url: String,
    /// The key of the certificate to be, PKCS#8 in PEM.
    pub(crate) key: String,
}

impl Progress {
    pub(crate) fn tries(&self) -> Tries {
        Tries {
            failures: self.failures,
            next: self.next_try.map(time),
            in_flight: self.order.is_some(),
        }
    }
}

/// A time as it is written down, in whole seconds.
pub(crate) fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// A time as it was written down. One that no clock can show is taken for the longest past.
pub(crate) fn time(seconds: u64) -> SystemTime {
    let since = Duration::from_secs(seconds);
    let time = SystemTime::UNIX_EPOCH.checked_add(since);
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The files of one set of names with one CA.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    /// How the files of the set begin.
    stem: String,
}

impl Store {
    /// Makes the directories that are missing.
    ///
    /// Errors: [`StoreError::Directory`] and [`StoreError::Owner`]. A directory that others may look
    /// into is warned of.
    pub(crate) fn open(state: &Path, directory: &str, set: &[String]) -> Result<Self, StoreError> {
        let ca = directory.strip_prefix("https://").unwrap_or(directory);
        let folder = state.join(stem(ca, directory));
        for path in [state, &folder] {
            make(path)?;
        }
        let first = set.first().map_or("", String::as_str);
        let stem = stem(first, &set.join("\n"));
        Ok(Self { folder, stem })
    }

    pub(crate) fn account(&self) -> Result<Option<Account>, StoreError> {
        read(&self.folder.join("account.json"))
    }

    pub(crate) fn keep_account(&self, account: &Account) -> Result<(), StoreError> {
        write_json(&self.folder.join("account.json"), account)
    }

    /// How far it has come; nothing yet where nothing was kept.
    pub(crate) fn progress(&self) -> Result<Progress, StoreError> {
        Ok(read(&self.of("json"))?.unwrap_or_default())
    }

    pub(crate) fn keep_progress(&self, progress: &Progress) -> Result<(), StoreError> {
        write_json(&self.of("json"), progress)
    }

    /// Chain and key in PEM.
    pub(crate) fn certificate(&self) -> Result<Option<String>, StoreError> {
        read_text(&self.of("pem"))
    }

    pub(crate) fn keep_certificate(&self, both: &str) -> Result<(), StoreError> {
        write(&self.of("pem"), both.as_bytes())
    }

    /// Where chain and key are kept.
    pub(crate) fn certificate_path(&self) -> PathBuf {
        self.of("pem")
    }

    /// Takes the lock of the set, held as long as the file is; `None` while somebody else has it.
    pub(crate) fn lock(&self) -> Result<Option<File>, StoreError> {
        lock(&self.of("lock"))
    }

    /// As [`Store::lock`], of the account.
    pub(crate) fn lock_account(&self) -> Result<Option<File>, StoreError> {
        lock(&self.folder.join("account.lock"))
    }

    /// The names of the CA and of the set, as they are in those of files.
    pub(crate) fn names(&self) -> (String, String) {
        let ca = self.folder.file_name().unwrap_or_default();
        (ca.to_string_lossy().into_owned(), self.stem.clone())
    }

    /// What is kept of a kind of entry, as it was written, and when that was.
    pub(crate) fn kept(&self, kind: &str) -> Result<Option<(u64, String)>, StoreError> {
        let path = self.kind(kind);
        let Some(text) = read_text(&path)? else {
            return Ok(None);
        };
        let written = fs::metadata(&path).and_then(|found| found.modified());
        let written = written.map_err(|error| file(&path, error))?;
        let since = written.duration_since(SystemTime::UNIX_EPOCH);
        Ok(Some((
            since.map_or(0, |since| since.as_millis() as u64),
            text,
        )))
    }

    /// Keeps what another balancer has, of this version.
    pub(crate) fn keep(&self, kind: &str, version: u64, text: &str) -> Result<(), StoreError> {
        let path = self.kind(kind);
        write(&path, text.as_bytes())?;
        let written = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(version));
        let stamped = File::open(&path).and_then(|file| {
            // A version that no clock shows is as good as the oldest.
            file.set_modified(written.unwrap_or(SystemTime::UNIX_EPOCH))
        });
        stamped.map_err(|error| file(&path, error))
    }

    fn kind(&self, kind: &str) -> PathBuf {
        match kind {
            shared::ACCOUNT => self.folder.join("account.json"),
            shared::PROGRESS => self.of("json"),
            _ => self.of("pem"),
        }
    }

    fn of(&self, extension: &str) -> PathBuf {
        self.folder.join(format!("{}.{extension}", self.stem))
    }
}

/// A file's name by which people know what it is, made certain by a hash of what it stands for.
fn stem(shown: &str, of: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    let shown: String = shown
        .chars()
        .take(100)
        .map(|c| if plain(c) { c } else { '-' })
        .collect();
    let hash = digest(&SHA256, of.as_bytes());
    let hash: String = hash.as_ref()[..4]
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    format!("{}_{hash}", shown.trim_start_matches('.'))
}

fn make(path: &Path) -> Result<(), StoreError> {
    let user = rustix::process::geteuid().as_raw();
    let failed = |error| StoreError::Directory {
        path: path.into(),
        user,
        error,
    };
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(failed)?;
    let found = fs::metadata(path).map_err(failed)?;
    if found.uid() != user {
        return Err(StoreError::Owner {
            path: path.into(),
            owner: found.uid(),
            user,
        });
    }
    if found.mode() & 0o077 != 0 {
        let (path, mode) = (path.display(), found.mode() & 0o777);
        tracing::warn!("{path} holds keys, and its mode is {mode:04o}; chmod 700 {path}");
    }
    // The only way to know for certain, whatever the mode says: a disk may be read-only.
    // Of this process's own, since another may look at the same moment.
    let probe = path.join(format!(".probe-{}", std::process::id()));
    write(&probe, b"").map_err(|error| match error {
        StoreError::File { error, .. } => failed(error),
        other => other,
    })?;
    fs::remove_file(probe).map_err(failed)
}

fn lock(path: &Path) -> Result<Option<File>, StoreError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let opened = options.open(path).map_err(|error| file(path, error))?;
    match opened.try_lock() {
        Ok(()) => Ok(Some(opened)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(file(path, error)),
    }
}

fn file(path: &Path, error: io::Error) -> StoreError {
    StoreError::File {
        path: path.into(),
        error,
    }
}

fn read_text(path: &Path) -> Result<Option<String>, StoreError> {
    match roundel_files::read_secret(path, LARGEST) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file(path, error)),
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    let Some(text) = read_text(path)? else {
        return Ok(None);
    };
    let value = serde_json::from_str(&text).map_err(|error| StoreError::Broken {
        path: path.into(),
        line: error.line(),
        column: error.column(),
    })?;
    Ok(Some(value))
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), StoreError> {
    let mut text = serde_json::to_vec_pretty(value).expect("maps with text keys can be written");
    text.push(b'\n');
    write(path, &text)
}

/// Puts a file in its place whole: at no moment there is less than the one before or this.
fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let temporary = temporary(path);
    let steps = || {
        put(&temporary, bytes)?;
        fs::rename(&temporary, path)?;
        // The name is on disk when its directory is.
        File::open(path.parent().unwrap_or(path))?.sync_all()
    };
    steps().map_err(|error| file(path, error))
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // What a kill left; made anew, so that its mode is ours and it is no link.
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn open(state: &Path, directory: &str, names: &[&str]) -> Store {
        let names: Vec<_> = names.iter().map(|n| n.to_string()).collect();
        Store::open(state, directory, &names).unwrap()
    }

    #[test]
    fn what_is_kept_is_read_again_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("var/acme");
        let store = open(&state, "https://ca.example/dir", &["a.example"]);
        assert!(store.account().unwrap().is_none());
        assert_eq!(store.progress().unwrap().tries(), Tries::default());
        let url = Some("https://ca.example/acct/1".to_owned());
        store
            .keep_account(&Account {
                key: "k".into(),
                url: url.clone(),
            })
            .unwrap();
        let order = Some(Flight {
            url: "https://ca.example/order/1".into(),
            key: "k2".into(),
        });
        let progress = Progress {
            order,
            failures: 2,
            next_try: Some(7),
            ..Progress::default()
        };
        store.keep_progress(&progress).unwrap();
        store.keep_certificate("chain\nkey\n").unwrap();

        let store = open(&state, "https://ca.example/dir", &["a.example"]);
        assert_eq!(store.account().unwrap().unwrap().url, url);
        let kept = store.progress().unwrap();
        assert_eq!(
            kept.tries(),
            Tries {
                failures: 2,
                next: Some(time(7)),
                in_flight: true
            }
        );
        assert_eq!(kept.order.unwrap().key, "k2");
        assert_eq!(store.certificate().unwrap().unwrap(), "chain\nkey\n");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&state), mode(&store.folder)), (0o700, 0o700));
        let files: Vec<_> = fs::read_dir(&store.folder)
            .unwrap()
            .map(|f| f.unwrap().path())
            .collect();
        assert_eq!(files.len(), 3, "{files:?}");
        assert!(files.iter().all(|file| mode(file) == 0o600));
    }

    #[test]
    fn another_ca_or_other_names_have_other_files() {
        let folder = tempfile::tempdir().unwrap();
        let check = |directory: &str, names: &[&str]| {
            open(folder.path(), directory, names).certificate_path()
        };
        let one = check("https://ca.example/dir", &["a.example"]);
        assert!(one.to_str().unwrap().contains("/ca.example-dir_"));
        assert!(one.to_str().unwrap().contains("/a.example_"));
        assert_ne!(one, check("https://ca.example/dir2", &["a.example"]));
        assert_ne!(
            one,
            check("https://ca.example/dir", &["a.example", "b.example"])
        );
        assert_eq!(one, check("https://ca.example/dir", &["a.example"]));
        let outside = check("https://../../dir", &["a.example"]);
        assert!(outside.canonicalize().is_err() && outside.starts_with(folder.path()));
        assert!(
            !outside
                .strip_prefix(folder.path())
                .unwrap()
                .to_str()
                .unwrap()
                .contains("/..")
        );
    }

    #[test]
    fn a_kill_between_any_two_steps_of_writing_leaves_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let target = folder.path().join("target");
        write(&path, b"before").unwrap();
        let read = || fs::read(&path).unwrap();
        let leftovers: [&dyn Fn(); 4] = [
            &|| {},
            &|| fs::write(temporary(&path), b"").unwrap(),
            &|| fs::write(temporary(&path), b"aft").unwrap(),
            &|| symlink(&target, temporary(&path)).unwrap(),
        ];
        for leave in leftovers {
            leave();
            assert_eq!(read(), b"before");
            write(&path, b"after").unwrap();
            assert_eq!(read(), b"after");
            assert!(!temporary(&path).exists() && !target.exists());
            write(&path, b"before").unwrap();
        }
    }

    #[test]
    fn one_process_has_the_lock_until_it_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (
            open(folder.path(), "https://ca.example/", &["a.example"]),
            open(folder.path(), "https://ca.example/", &["a.example"]),
        );
        let held = one.lock().unwrap();
        assert!(held.is_some() && two.lock().unwrap().is_none());
        drop(held);
        assert!(two.lock().unwrap().is_some());
    }

    #[test]
    fn what_cannot_be_used_is_said_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Store::open(&file, "https://ca.example/", &[]).unwrap_err();
        assert!(matches!(error, StoreError::Directory { .. }), "{error}");
        let store = open(folder.path(), "https://ca.example/", &["a.example"]);
        fs::write(store.of("json"), "{").unwrap();
        let error = store.progress().err().unwrap().to_string();
        assert!(
            error.contains(".json") && error.contains("take it away"),
            "{error}"
        );
    }

    #[test]
    fn a_directory_of_somebody_else_is_refused() {
        let user = rustix::process::geteuid().as_raw();
        let foreign = if user == 0 {
            None
        } else {
            Some(Path::new("/"))
        };
        let folder = tempfile::tempdir().unwrap();
        let path = match foreign {
            Some(path) => path,
            None => {
                std::os::unix::fs::chown(folder.path(), Some(4711), None).unwrap();
                folder.path()
            }
        };
        let error = make(path).unwrap_err().to_string();
        assert!(error.contains("belongs to the user"), "{error}");
    }
}
