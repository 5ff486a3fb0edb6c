//! The files of certificates, towards clients and towards servers: noticed when they change, and warned
//! of when they end.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use roundel_config::Settings;
use roundel_tls::Certificate;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::control::Ask;

/// How long the files have to be left alone before they are read: a chain comes before its key.
const QUIET: Duration = Duration::from_millis(500);
/// How often to look.
const POLL: Duration = Duration::from_secs(2);

/// Files and folders, and what was found there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Files {
    paths: Vec<PathBuf>,
    trace: Vec<String>,
}

impl Files {
    /// Those of which a configuration was made.
    pub(crate) fn of(settings: &Settings) -> Self {
        let shown = settings.tls();
        let shown = shown.map(|tls| (&*tls.paths, &*tls.trace));
        let backs = settings.backends.iter();
        let backs = backs.filter_map(|backend| Some(backend.tls.as_ref()?.files()));
        let mut files = Self::default();
        for (paths, trace) in shown.chain(backs) {
            files.paths.extend_from_slice(paths);
            files.trace.extend_from_slice(trace);
        }
        files
    }

    /// What is there now.
    async fn look(&self) -> Vec<String> {
        let paths = self.paths.clone();
        // Their disk may have gone.
        let look = spawn_blocking(move || roundel_tls::trace(&paths));
        look.await.unwrap_or_default()
    }
}

/// Asks for a reload after each change of the files that are named at the time, until nobody listens.
pub(crate) async fn follow(mut files: watch::Receiver<Files>, asks: mpsc::Sender<Ask>) {
    let mut known = files.borrow_and_update().clone();
    let mut poll = interval(POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            changed = files.changed() => match changed {
                Ok(()) => known = files.borrow_and_update().clone(),
                Err(_) => return,
            },
            _ = poll.tick(), if !known.paths.is_empty() => {}
        }
        let mut found = known.look().await;
        if found == known.trace {
            continue;
        }
        loop {
            sleep(QUIET).await;
            let again = known.look().await;
            if again == found {
                break;
            }
            found = again;
        }
        known.trace = found;
        let ask = Ask::Reload("a change of the certificates");
        if asks.send(ask).await.is_err() {
            return;
        }
    }
}

/// What people should know of the certificates of a configuration, one line each.
pub(crate) fn warnings(settings: &Settings, now: SystemTime) -> Vec<String> {
    let certificates = settings.tls().flat_map(|tls| &tls.certificates);
    let warning = |c: &std::sync::Arc<Certificate>| {
        let text = c.warning(now)?;
        Some(format!("the certificate {} {text}", title(c)))
    };
    let mut lines: Vec<String> = certificates.filter_map(warning).collect();
    lines.dedup();
    lines
}

/// How a certificate is called: its first name and its file.
pub(crate) fn title(certificate: &Certificate) -> String {
    let name = certificate.names().first().map_or("", String::as_str);
    format!("{name} ({})", certificate.source())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::time::timeout;

    use super::*;

    /// Longer than a look and a pause take on a machine that has much to do.
    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn changes_are_asked_to_be_read_and_other_files_are_followed_from_then_on() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one.pem", "two.pem"].map(|name| folder.path().join(name));
        for path in [&one, &two] {
            fs::write(path, "first").unwrap();
        }
        let files = |path: &PathBuf| {
            let paths = vec![path.clone()];
            let trace = roundel_tls::trace(&paths);
            Files { paths, trace }
        };
        let (tell, told) = watch::channel(files(&one));
        let (asks, mut asked) = mpsc::channel(4);
        // It changed after it was read, and before anybody followed it.
        fs::write(&one, "another").unwrap();
        let script = async {
            timeout(LIMIT, asked.recv()).await.expect("before");
            fs::write(&one, "yet another").unwrap();
            timeout(LIMIT, asked.recv()).await.expect("afterwards");
            tell.send_replace(files(&two));
            fs::rename(&one, &two).unwrap();
            timeout(LIMIT, asked.recv()).await.expect("another file");
        };
        tokio::select! {
            biased;
            () = follow(told, asks) => panic!("the follower never ends while somebody listens"),
            () = script => {}
        }
    }
}
