//! Certificates in files and folders.
//!
//! ```text
//! www.pem                          chain and key in one
//! www.crt  www.key                 side by side; also www.pem www.key
//! www/fullchain.pem  www/privkey.pem     as certbot leaves them in live/
//! www/tls.crt  www/tls.key         as Kubernetes mounts a secret
//! live/www/fullchain.pem           the same one level deeper
//! ```

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::certificate::Certificate;
use crate::flaw::{Flaw, Refused};

/// The largest file of a certificate or a key, in bytes; a chain of ten takes 20 KiB.
const LARGEST: u64 = 1 << 20;

/// The files of one certificate.
#[derive(Debug, PartialEq, Eq)]
struct Pair {
    chain: PathBuf,
    /// `None`: the key is in the same file.
    key: Option<PathBuf>,
}

/// Reads the certificates that files and folders hold, in the order of the paths and within a folder
/// of names; one that is there twice counts once. Warns of keys that others may read.
///
/// Errors: every file that is no good; see [`Refused`].
pub fn load(paths: &[PathBuf]) -> Result<Vec<Arc<Certificate>>, Vec<Refused>> {
    let mut found: Vec<Arc<Certificate>> = Vec::new();
    let mut refused = Vec::new();
    for path in paths {
        let pairs = match pairs(path) {
            Ok(pairs) => pairs,
            Err(flaw) => {
                refused.push(Refused::new(path, flaw));
                continue;
            }
        };
        for pair in pairs {
            match read(&pair) {
                Ok(certificate) if found.iter().any(|known| **known == certificate) => {}
                Ok(certificate) => found.push(Arc::new(certificate)),
                Err(error) => refused.push(error),
            }
        }
    }
    match refused.is_empty() {
        true => Ok(found),
        false => Err(refused),
    }
}

/// What tells whether anything changed below paths: names, times and sizes of the files, through
/// links, one line each. A file that has gone is told as such.
pub fn trace(paths: &[PathBuf]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut told = |path: &Path| {
        let shown = path.display();
        lines.push(match fs::metadata(path) {
            Ok(file) => format!(
                "{shown} {} {} {}.{:09} {}.{:09}",
                file.ino(),
                file.len(),
                file.mtime(),
                file.mtime_nsec(),
                file.ctime(),
                file.ctime_nsec()
            ),
            Err(error) => format!("{shown} {:?}", error.kind()),
        });
    };
    for path in paths {
        match pairs(path) {
            Ok(pairs) => pairs.iter().for_each(|pair| {
                told(&pair.chain);
                pair.key.as_deref().map(&mut told);
            }),
            Err(_) => told(path),
        }
    }
    lines
}

fn read(pair: &Pair) -> Result<Certificate, Refused> {
    let file = &pair.chain;
    let name = file.display().to_string();
    match &pair.key {
        None => {
            let bytes = secret(file)?;
            let read = Certificate::read(bytes.as_bytes(), bytes.as_bytes(), name);
            read.map_err(|flaw| Refused::new(file, flaw))
        }
        Some(key) => {
            let chain = roundel_files::read(file, LARGEST);
            let chain = chain.map_err(|error| Refused::new(file, error))?;
            let bytes = secret(key)?;
            let read = Certificate::read(&chain, bytes.as_bytes(), name);
            read.map_err(|flaw| match flaw {
                Flaw::NoKey | Flaw::SealedKey | Flaw::Key(_) | Flaw::OtherKey => {
                    Refused::new(key, flaw)
                }
                flaw => Refused::new(file, flaw),
            })
        }
    }
}

fn secret(path: &Path) -> Result<zeroize::Zeroizing<String>, Refused> {
    let read = roundel_files::read_secret(path, LARGEST);
    read.map(Into::into)
        .map_err(|error| Refused::new(path, error))
}

/// The certificates that a path stands for; at least one.
fn pairs(path: &Path) -> Result<Vec<Pair>, Flaw> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![pair(path)]);
    }
    let mut found = Vec::new();
    for path in entries(path)? {
        match path.is_dir() {
            // Enough for certbot's live/, also beside other files, and for a folder per host.
            true => found.extend(inside(&path)?),
            false => found.extend(certificate(&path)),
        }
    }
    if let Some(own) = named(path) {
        found = vec![own];
    }
    match found.is_empty() {
        true => Err(Flaw::Empty),
        false => Ok(found),
    }
}

/// A folder below one that was named. Of those below it only pairs as certbot or Kubernetes keep them
/// are taken.
fn inside(folder: &Path) -> io::Result<Vec<Pair>> {
    if let Some(pair) = named(folder) {
        return Ok(vec![pair]);
    }
    let pair = |path: PathBuf| match path.is_dir() {
        true => named(&path),
        false => certificate(&path),
    };
    Ok(entries(folder)?.into_iter().filter_map(pair).collect())
}

/// The pair of a folder that certbot or Kubernetes keeps; whatever else lies there is not ours.
fn named(folder: &Path) -> Option<Pair> {
    const NAMES: [(&str, &str); 2] = [("fullchain.pem", "privkey.pem"), ("tls.crt", "tls.key")];
    let pairs = NAMES.map(|(chain, key)| (folder.join(chain), folder.join(key)));
    let (chain, key) = pairs.into_iter().find(|(chain, _)| chain.is_file())?;
    let key = Some(key);
    Some(Pair { chain, key })
}

/// What a folder holds, in order of names; what is hidden is left out.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = entries.collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| !path.file_name().is_some_and(is_hidden));
    paths.sort();
    Ok(paths)
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// The certificate of a file in a folder, if it looks like one: other files may lie beside it.
fn certificate(file: &Path) -> Option<Pair> {
    let ending = file.extension()?.to_str()?;
    ["pem", "crt", "cer"].contains(&ending).then(|| pair(file))
}

/// A file with the key that lies beside it, if one does.
fn pair(file: &Path) -> Pair {
    let beside = match file.file_name() {
        Some(name) if name == "fullchain.pem" => file.with_file_name("privkey.pem"),
        _ => file.with_extension("key"),
    };
    Pair {
        chain: file.to_owned(),
        key: (beside != file && beside.is_file()).then_some(beside),
    }
}

#[cfg(test)]
mod tests;
