//! A certificate for this machine, made on the spot, and the file by which clients believe it.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use roundel_tls::Certificate;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// How this machine is called by itself.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// How long the certificate counts, from a day before it is made for clocks that are late.
const LIFE: Duration = Duration::from_secs(30 * DAY);
const DAY: u64 = 24 * 60 * 60;

/// What the file's name begins with; the number of its process follows.
const FILE: &str = "roundel-demo-";

/// A certificate, and a file with its authority that is removed at the end. No key is on any disk.
pub(crate) struct Secured {
    certificate: Arc<Certificate>,
    file: PathBuf,
}

impl Secured {
    /// Makes both, for this machine's usual names and the addresses on which it listens.
    ///
    /// Errors: the folder for temporary files cannot be written.
    pub(crate) fn new(listen: &[SocketAddr]) -> anyhow::Result<Self> {
        let now = SystemTime::now();
        let told = listen.iter().map(SocketAddr::ip);
        let told = told.filter(|ip| !ip.is_unspecified());
        let names = NAMES.map(String::from).into_iter();
        let names: BTreeSet<_> = names.chain(told.map(|ip| ip.to_string())).collect();
        let names = names.into_iter().collect();
        let mut authority = params("Roundel demo authority", Vec::new(), now)?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let leaf = params("Roundel demo", names, now)?.signed_by(&key, &authority)?;
        let (chain, key) = (leaf.pem(), key.serialize_pem());
        let certificate = Certificate::read(chain.as_bytes(), key.as_bytes(), "made by demo")?;
        Ok(Self {
            certificate: Arc::new(certificate),
            file: write(&authority.pem())?,
        })
    }

    pub(crate) fn certificate(&self) -> Arc<Certificate> {
        Arc::clone(&self.certificate)
    }

    /// Where the authority is.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

fn params(title: &str, names: Vec<String>, now: SystemTime) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, title);
    params.not_before = (now - Duration::from_secs(DAY)).into();
    params.not_after = (now + LIFE).into();
    Ok(params)
}

/// Removes files of ours whose process was killed.
fn clear(folder: &Path) {
    for path in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = path.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(FILE));
        let number = rest.and_then(|rest| rest.split_once('-')?.0.parse().ok());
        let has_gone = |pid| test_kill_process(pid) == Err(Errno::SRCH);
        if number.and_then(Pid::from_raw).is_some_and(has_gone) {
            // What belongs to somebody else stays.
            let _ = fs::remove_file(path.path());
        }
    }
}

/// Writes a file that was not there before: others may write into the same folder.
fn write(text: &str) -> io::Result<PathBuf> {
    let folder = std::env::temp_dir();
    clear(&folder);
    let mut tries = 0..10;
    loop {
        let number = tries.next();
        let name = format!("{FILE}{}-{}.pem", std::process::id(), number.unwrap_or(0));
        let path = folder.join(name);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => {
                file.write_all(text.as_bytes())?;
                return Ok(path);
            }
            // One whose process had our number was killed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number.is_some() => {}
            Err(error) => return Err(error),
        }
    }
}
