//! Notices that the configuration file changed.
//!
//! Editors replace files by renaming, Kubernetes swaps a symbolic link beside them, bind mounts
//! may tell nothing at all. So any news from the folder, and a look every two seconds, lead to
//! the same question: are the bytes others than before?

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::ModifyKind;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use roundel_files::LARGEST;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};

use crate::control::Ask;

/// How long the file has to be left alone before it is read.
const QUIET: Duration = Duration::from_millis(150);
/// How often to look where the system tells nothing.
const POLL: Duration = Duration::from_secs(2);

/// Asks for a reload after each change of the bytes that `path` has now, until nobody listens.
pub(crate) fn follow(path: PathBuf, asks: mpsc::Sender<Ask>) -> impl Future<Output = ()> {
    let known = roundel_files::read(&path, LARGEST).ok();
    changes(path, known, asks)
}

async fn changes(path: PathBuf, mut known: Option<Vec<u8>>, asks: mpsc::Sender<Ask>) {
    let (tell, mut news) = mpsc::channel(1);
    let watcher = watch(&path, tell);
    if let Err(error) = &watcher {
        tracing::debug!("{} is polled, not watched: {error}", path.display());
    }
    let mut poll = interval(POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some(()) = news.recv() => settle(&mut news).await,
            _ = poll.tick() => {}
        }
        let mut bytes = match read(&path).await {
            Ok(bytes) => bytes,
            // A file that is being replaced may be absent for a moment; its successor counts.
            Err(ErrorKind::NotFound) => continue,
            // Whoever reads it for the reload says why it is no good.
            Err(_) => Vec::new(),
        };
        if known.as_ref() == Some(&bytes) {
            continue;
        }
        // One that is being written is read again until it stays as it is.
        loop {
            sleep(QUIET).await;
            match read(&path).await {
                Ok(again) if again != bytes => bytes = again,
                _ => break,
            }
        }
        known = Some(bytes);
        if asks
            .send(Ask::Reload("a change of the file"))
            .await
            .is_err()
        {
            return;
        }
    }
}

/// Reads the file on a thread of its own: its disk may have gone.
async fn read(path: &Path) -> Result<Vec<u8>, ErrorKind> {
    let path = path.to_owned();
    let read = spawn_blocking(move || roundel_files::read(&path, LARGEST));
    let read = read.await.map_err(|_| ErrorKind::Other)?;
    read.map_err(|error| error.kind())
}

/// Waits until the news has stopped, but not for ever: others may use the folder all the time.
async fn settle(news: &mut mpsc::Receiver<()>) {
    let end = Instant::now() + POLL;
    while let Ok(Some(())) = timeout_at(end.min(Instant::now() + QUIET), news.recv()).await {}
}

fn watch(path: &Path, tell: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let name = path.file_name().map(OsStr::to_owned);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| concerns(&event, name.as_deref())) {
            // One waiting news is as good as two.
            let _ = tell.try_send(());
        }
    })?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Whether the bytes behind a file of this name may be others after an event in its folder: it may
/// be a link to whatever comes and goes there, but what is written into another file is no news.
fn concerns(event: &Event, name: Option<&OsStr>) -> bool {
    match event.kind {
        // Reading the file is an event too.
        EventKind::Access(_) => false,
        EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)) => {
            event.paths.iter().any(|path| path.file_name() == name)
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use notify::event::{DataChange, RenameMode};
    use tokio::time::timeout;

    use super::*;

    /// Long enough for the slowest of both ways.
    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn notices_writing_and_renaming() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roundel.toml");
        fs::write(&path, "a").unwrap();
        let (asks, mut asked) = mpsc::channel(4);
        let follower = follow(path.clone(), asks);
        let script = async {
            fs::write(&path, "b").unwrap();
            timeout(LIMIT, asked.recv()).await.expect("written");
            let other = folder.path().join("other");
            fs::write(&other, "c").unwrap();
            fs::rename(&other, &path).unwrap();
            timeout(LIMIT, asked.recv()).await.expect("renamed");
        };
        tokio::select! {
            biased;
            () = follower => panic!("the follower never ends while somebody listens"),
            () = script => {}
        }
    }

    #[test]
    fn what_is_written_beside_the_file_is_no_news() {
        let event = |kind, name| Event::new(kind).add_path(Path::new("/etc").join(name));
        let is_news = |event| concerns(&event, Some(OsStr::new("roundel.toml")));
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let renamed = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        assert!(is_news(event(written, "roundel.toml")));
        assert!(!is_news(event(written, "access.log")));
        assert!(is_news(event(renamed, "..data")));
    }
}
