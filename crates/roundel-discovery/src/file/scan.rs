//! Reads the files.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use roundel_model::{Name, Server};

use super::targets;
use crate::line;
use crate::notices::Notices;

/// The largest file that is read.
const MAX_FILE: u64 = 1024 * 1024;

/// Reads a path again and again and keeps what was last good.
#[derive(Debug)]
pub(super) struct Scanner {
    path: PathBuf,
    default_port: u16,
    /// What was last read from each file.
    good: BTreeMap<PathBuf, Vec<Server>>,
    notices: Notices,
}

type Complaints = BTreeMap<String, String>;

impl Scanner {
    pub(super) fn new(path: PathBuf, default_port: u16) -> Self {
        Self {
            path,
            default_port,
            good: BTreeMap::new(),
            notices: Notices::default(),
        }
    }

    /// The servers of all files in natural order of name; `None` while nothing could be read.
    pub(super) fn scan(&mut self) -> Option<Vec<Server>> {
        let mut complaints = Complaints::new();
        let read = self.read_all(&mut complaints);
        if let Err(error) = &read {
            let text = format!("{error}; what was last read stays in force");
            complaints.insert(self.path.display().to_string(), text);
        }
        let servers = self.collect(&mut complaints);
        self.notices.renew("file", complaints);
        (read.is_ok() || !self.good.is_empty()).then_some(servers)
    }

    fn read_all(&mut self, complaints: &mut Complaints) -> io::Result<()> {
        if !fs::metadata(&self.path)?.is_dir() {
            let servers = self.read_file(&self.path, complaints)?;
            self.good = BTreeMap::from([(self.path.clone(), servers)]);
            return Ok(());
        }
        let mut good = BTreeMap::new();
        for path in list(&self.path)? {
            match self.read_file(&path, complaints) {
                Ok(servers) => {
                    good.insert(path, servers);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    complaints.insert(path.display().to_string(), error.to_string());
                    good.extend(self.good.remove_entry(&path));
                }
            }
        }
        self.good = good;
        Ok(())
    }

    /// The good lines or targets of one file; each bad one is a complaint.
    fn read_file(&self, path: &Path, complaints: &mut Complaints) -> io::Result<Vec<Server>> {
        let text = roundel_files::read_text(path, MAX_FILE)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        if path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("json"))
        {
            return self.read_targets(path, text, complaints);
        }
        let mut servers = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            match line::parse(line, self.default_port) {
                Ok(server) => servers.extend(server),
                Err(error) => {
                    let place = format!("{}:{number}", path.display());
                    complaints.insert(place, format!("line ignored: {error}"));
                }
            }
        }
        Ok(servers)
    }

    fn read_targets(
        &self,
        path: &Path,
        text: &str,
        complaints: &mut Complaints,
    ) -> io::Result<Vec<Server>> {
        let wrong = |error| io::Error::new(ErrorKind::InvalidData, error);
        let mut servers = Vec::new();
        for target in targets::parse(text, self.default_port).map_err(wrong)? {
            match target {
                Ok(server) => servers.push(server),
                Err((place, error)) => {
                    let place = format!("{}: {place}", path.display());
                    complaints.insert(place, format!("target ignored: {error}"));
                }
            }
        }
        Ok(servers)
    }

    fn collect(&self, complaints: &mut Complaints) -> Vec<Server> {
        let mut by_name: BTreeMap<Name, Server> = BTreeMap::new();
        for (path, servers) in &self.good {
            for server in servers {
                if by_name.contains_key(&server.name) {
                    let place = format!("{}: {}", path.display(), server.name);
                    complaints.insert(place, "named twice; the first counts".into());
                    continue;
                }
                by_name.insert(server.name.clone(), server.clone());
            }
        }
        by_name.into_values().collect()
    }
}

/// The files of a directory in order of name, without hidden ones and editors' copies.
fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_copy = name.ends_with('~') || name.ends_with(".swp") || name.ends_with(".tmp");
        let path = entry.path();
        if !name.starts_with('.') && !is_copy && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(servers: &[Server]) -> Vec<&str> {
        servers.iter().map(|s| s.name.as_str()).collect()
    }

    #[test]
    fn bad_lines_are_ignored_and_the_rest_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nodes");
        let text = "\u{feff}s10 10.0.0.10\r\nnonsense\r\n\r\ns2 10.0.0.2:80 3\r\ns2 10.0.0.3\r\n";
        fs::write(&path, text).unwrap();
        let mut scanner = Scanner::new(path, 3000);
        let servers = scanner.scan().unwrap();
        assert_eq!(names(&servers), ["s2", "s10"]);
        assert_eq!(servers[0].address.to_string(), "10.0.0.2:80");
    }

    #[test]
    fn what_cannot_be_read_keeps_its_last_good_servers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nodes");
        let mut scanner = Scanner::new(path.clone(), 3000);
        assert_eq!(scanner.scan(), None, "nothing was ever read");
        fs::write(&path, "s1 10.0.0.1\n").unwrap();
        assert_eq!(names(&scanner.scan().unwrap()), ["s1"]);
        fs::write(&path, b"s2 10.0.0.2\n\xff\xfe").unwrap();
        assert_eq!(names(&scanner.scan().unwrap()), ["s1"]);
        fs::remove_file(&path).unwrap();
        assert_eq!(names(&scanner.scan().unwrap()), ["s1"]);
        fs::write(&path, "").unwrap();
        assert!(scanner.scan().unwrap().is_empty(), "empty is a statement");
    }

    #[test]
    fn a_directory_has_one_file_per_server() {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("b", "s2 10.0.0.2"),
            ("a", "s1 10.0.0.1:80\n"),
            (".hidden", "s3 10.0.0.3"),
            ("a~", "s4 10.0.0.4"),
        ] {
            fs::write(dir.path().join(file), text).unwrap();
        }
        fs::create_dir(dir.path().join("sub")).unwrap();
        let mut scanner = Scanner::new(dir.path().to_owned(), 3000);
        assert_eq!(names(&scanner.scan().unwrap()), ["s1", "s2"]);
        fs::remove_file(dir.path().join("a")).unwrap();
        assert_eq!(names(&scanner.scan().unwrap()), ["s2"]);
    }

    #[test]
    fn files_of_prometheus_keep_their_servers_while_they_are_half_written() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "s1 10.0.0.1\n").unwrap();
        let path = dir.path().join("web.json");
        fs::write(&path, r#"[{"targets": ["10.0.0.2:80", "web"]}]"#).unwrap();
        let mut scanner = Scanner::new(dir.path().to_owned(), 3000);
        let both = ["10.0.0.2:80", "s1"];
        assert_eq!(names(&scanner.scan().unwrap()), both);
        fs::write(&path, r#"[{"targets": ["10.0.0.3:80""#).unwrap();
        assert_eq!(names(&scanner.scan().unwrap()), both);
        fs::write(&path, "[]").unwrap();
        assert_eq!(names(&scanner.scan().unwrap()), ["s1"]);
    }
}
