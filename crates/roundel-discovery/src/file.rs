//! Servers listed in a watched file, or in a directory of files.

mod scan;
mod targets;
mod watcher;

use std::path::PathBuf;
use std::time::Duration;

use crate::run::Outlet;
use scan::Scanner;
use watcher::Watcher;

/// Files are read again this often even if nothing was noticed: bind mounts and network file
/// systems do not tell.
const LOOK: Duration = Duration::from_secs(2);
/// How long a writer gets to finish after the first sign of a change.
const SETTLE: Duration = Duration::from_millis(20);

/// Follows a path until nobody listens.
pub(crate) async fn follow(path: PathBuf, default_port: u16, outlet: Outlet) {
    let (mut watcher, mut changes) = Watcher::new(&path);
    let mut scanner = Scanner::new(path, default_port);
    loop {
        watcher.renew();
        let (back, servers) = match tokio::task::spawn_blocking(move || {
            let servers = scanner.scan();
            (scanner, servers)
        })
        .await
        {
            Ok(done) => done,
            Err(_) => return,
        };
        scanner = back;
        if let Some(servers) = servers
            && !outlet.say(servers).await
        {
            return;
        }
        if tokio::time::timeout(LOOK, changes.recv()).await.is_ok() {
            tokio::time::sleep(SETTLE).await;
            while changes.try_recv().is_ok() {}
        }
    }
}
