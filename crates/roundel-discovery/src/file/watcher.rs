//! Notices that something happened in a directory.

use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// Watches the directory that a path is, or lies in.
///
/// A directory rather than the file: editors and configuration tools replace files by renaming.
pub(super) struct Watcher {
    path: PathBuf,
    signal: mpsc::Sender<()>,
    watched: Option<(RecommendedWatcher, Identity)>,
}

/// A directory as the file system knows it; another one may come to lie at the same path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity(PathBuf, u64, u64);

impl Watcher {
    /// Makes a watcher that watches nothing until [`Self::renew`] is called.
    pub(super) fn new(path: &Path) -> (Self, mpsc::Receiver<()>) {
        let (signal, changes) = mpsc::channel(1);
        let watcher = Self {
            path: path.to_owned(),
            signal,
            watched: None,
        };
        (watcher, changes)
    }

    /// Watches what lies at the path at this moment. Failing is no harm: the path is also read
    /// at intervals.
    pub(super) fn renew(&mut self) {
        let identity = identity(&self.path);
        if self.watched.as_ref().map(|(_, identity)| identity) == identity.as_ref() {
            return;
        }
        self.watched = identity.and_then(|identity| {
            let watcher = watch(&identity.0, self.signal.clone());
            if let Err(error) = &watcher {
                tracing::debug!(path = %identity.0.display(), %error, "not watched");
            }
            Some((watcher.ok()?, identity))
        });
    }
}

fn identity(path: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    let directory = if path.is_dir() {
        path.to_owned()
    } else {
        match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        }
    };
    let metadata = std::fs::metadata(&directory).ok()?;
    Some(Identity(directory, metadata.dev(), metadata.ino()))
}

fn watch(directory: &Path, signal: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| is_change(event.kind)) {
            // A full channel holds a signal already.
            let _ = signal.try_send(());
        }
    })?;
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Our own reading makes access events; they must not lead to another reading.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}
