//! The folder that keeps what outlives a restart.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// Taken where it exists and can be written, as packages and images make it.
const DEFAULT: &str = "/var/lib/roundel";

/// Where a balancer keeps the members that it knows, if there is a folder for it.
///
/// Balancers of one machine share the folder: the file is named after where they gossip, which is
/// the same after a restart, also in a container made anew. Where any free port is taken there is
/// nothing to come back to.
pub(crate) fn snapshot(told: Option<&Path>, listen: SocketAddr) -> Option<PathBuf> {
    if listen.port() == 0 {
        return None;
    }
    if let Some(folder) = told {
        return Some(folder.join(file_name(listen)));
    }
    let folder = Path::new(DEFAULT);
    let file = folder.join(file_name(listen));
    let ours = !file.exists() || access(&file, Access::READ_OK | Access::WRITE_OK).is_ok();
    // Gossip on loopback is a trial.
    let fits = is_writable(folder) && ours && !listen.ip().to_canonical().is_loopback();
    fits.then_some(file)
}

/// `members-7946`, or `members-10.0.0.1-7946` for one address.
fn file_name(listen: SocketAddr) -> String {
    let port = listen.port();
    match listen.ip() {
        ip if ip.is_unspecified() => format!("members-{port}"),
        ip => format!("members-{ip}-{port}"),
    }
}

fn is_writable(folder: &Path) -> bool {
    folder.is_dir() && access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_named_after_where_the_balancer_gossips() {
        let at = |listen: &str| {
            let path = snapshot(Some(Path::new("/s")), listen.parse().unwrap())?;
            Some(path.display().to_string())
        };
        assert_eq!(at("[::]:7946").as_deref(), Some("/s/members-7946"));
        assert_eq!(at("0.0.0.0:7947").as_deref(), Some("/s/members-7947"));
        assert_eq!(
            at("10.0.0.1:7946").as_deref(),
            Some("/s/members-10.0.0.1-7946")
        );
        assert_eq!(at("127.0.0.1:0"), None);
        assert!(!is_writable(Path::new("/nowhere")));
    }
}
