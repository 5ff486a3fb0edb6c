//! A configuration with every kind of secret that there is, and how they are found again.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::KeyPair;
use roundel_testkit::{Origin, Pebble, Reply, free_address};

pub(crate) const READ: &str = "read-token-2f8b0c7d91";
pub(crate) const ADMIN: &str = "admin-token-77a1e50c3b";
pub(crate) const STICKY: &str = "sticky-secret-c04e2b";
pub(crate) const PASSWORD: &str = "correct horse";
/// As `serf keygen` makes them.
const GOSSIP: &str = "kQ3v0mJ5c8Hh1pXb7sWf2dTz4yRg6uNa9eKjLqVxEoI=";
/// What Pebble is told, too.
const HMAC: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

/// What must not be found, by what it is.
#[derive(Default)]
pub(crate) struct Secrets(Vec<(String, Vec<u8>)>);

impl Secrets {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds what is secret as it is written.
    pub(crate) fn text(&mut self, what: &str, text: &str) {
        self.bytes(what, text.as_bytes());
    }

    /// Adds bytes in all the ways in which programs write bytes.
    pub(crate) fn bytes(&mut self, what: &str, bytes: &[u8]) {
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let list = format!("{bytes:?}");
        // Where it begins within three bytes is not known to who writes more in base64.
        let inner = STANDARD.encode(bytes);
        for form in [
            bytes.to_vec(),
            hex.to_uppercase().into_bytes(),
            hex.into_bytes(),
            inner.trim_end_matches('=').as_bytes().to_vec(),
            URL_SAFE_NO_PAD.encode(bytes).into_bytes(),
            list.trim_matches(['[', ']']).as_bytes().to_vec(),
        ] {
            self.0.push((what.to_owned(), form));
        }
    }

    /// Adds every private key of a PEM file: its lines, and what is in it.
    pub(crate) fn pem(&mut self, what: &str, pem: &str) {
        let mut inside = false;
        let mut body = String::new();
        for line in pem.lines() {
            match (line.starts_with("-----"), line.contains("PRIVATE KEY")) {
                (true, found) => inside = found && line.contains("BEGIN"),
                (false, _) if inside => {
                    body.push_str(line);
                    // Half a line is as bad, and the first of all keys of a kind begin alike.
                    self.text(what, &line[line.len() / 2..]);
                }
                _ => {}
            }
        }
        let Ok(der) = STANDARD.decode(&body) else {
            return;
        };
        // Of PKCS #8 of a key on P-256. Source: RFC 5958, RFC 5915.
        if let Some(number) = der.get(36..68) {
            self.bytes(what, number);
        }
    }

    /// Panics if any is there.
    pub(crate) fn search(&self, place: &str, bytes: &[u8]) {
        for (what, secret) in &self.0 {
            let found = bytes.windows(secret.len()).position(|w| w == secret);
            if let Some(at) = found {
                let from = at.saturating_sub(200);
                let around = String::from_utf8_lossy(&bytes[from..bytes.len().min(at + 200)]);
                panic!("{place} holds {what}: {around:?}");
            }
        }
    }
}

pub(crate) struct Stage {
    folder: tempfile::TempDir,
    pub(crate) secrets: Secrets,
    pub(crate) front: SocketAddr,
    pub(crate) page: SocketAddr,
    acme: String,
    origin: Origin,
}

impl Stage {
    /// With a frontend whose certificate this CA issues.
    pub(crate) fn new(pebble: Option<&Pebble>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let acme = pebble.map(|pebble| {
            let (plain, tls) = (pebble.http(), free_address());
            format!(
                "[[frontend]]\nname = \"plain\"\nlisten = [\"{plain}\"]\ndefault_backend = \"nodes\"\n\
                 [[frontend]]\nname = \"ordered\"\nlisten = [{{ address = \"{tls}\", tls = true }}]\n\
                 default_backend = \"nodes\"\ntls = {{ acme = {{ names = [\"www.roundel.example\"], accept_terms = true, \
                 directory = \"{}\", ca_file = {:?}, state = {:?}, \
                 eab = {{ kid = \"kid-1\", hmac_file = {:?} }} }} }}\n",
                pebble.directory(),
                pebble.ca_file(),
                pebble.at("state"),
                folder.path().join("hmac"),
            )
        });
        let mut stage = Self {
            folder,
            secrets: Secrets::default(),
            front: free_address(),
            page: free_address(),
            acme: acme.unwrap_or_default(),
            origin: Origin::start(|_| Reply::text("served")),
        };
        for name in ["front.pem", "page.pem", "client.pem"] {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            let key = made.signing_key.serialize_pem();
            stage.put(name, &(made.cert.pem() + &key));
            stage.secrets.pem(name, &key);
        }
        // bcrypt of the password, at the least cost.
        let hash = "$2b$04$x5ooiZc16R7btg9MGFnPLuE4VOMjpkdQsYUy64Z31hZ7NENWAmueK";
        stage.put("users", &format!("ada:{hash}\n"));
        for (file, text) in [
            ("read", READ),
            ("admin", ADMIN),
            ("gossip", GOSSIP),
            ("hmac", HMAC),
        ] {
            stage.put(file, &format!("{text}\n"));
            stage.secrets.text(file, text);
        }
        stage.secrets.text("the key of the cookie", STICKY);
        stage.secrets.text("a password", PASSWORD);
        stage.secrets.text("a password's hash", &hash[7..]);
        stage
            .secrets
            .bytes("the gossip's key", &STANDARD.decode(GOSSIP).unwrap());
        let hmac = URL_SAFE_NO_PAD.decode(HMAC).unwrap();
        stage
            .secrets
            .bytes("the key of the account's binding", &hmac);
        stage
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.at("roundel.toml")
    }

    /// Writes a file for its owner alone.
    pub(crate) fn put(&self, name: &str, text: &str) {
        let path = self.at(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Adds the keys that are in the files of a folder.
    pub(crate) fn learn(&mut self, folder: &Path) {
        let before = self.secrets.len();
        for path in files(folder) {
            let text = fs::read_to_string(&path).unwrap();
            // Within JSON, lines end in words.
            let lines = ["\\r", "\\n", "\""].iter();
            let text = lines.fold(text, |text, end| text.replace(end, "\n"));
            self.secrets.pem(&path.display().to_string(), &text);
        }
        assert!(
            self.secrets.len() >= before + 48,
            "no two keys in {folder:?}"
        );
    }

    /// Breaks the account that is kept in a folder, and takes the certificates away.
    pub(crate) fn unsettle(&self, folder: &Path) {
        for path in files(folder) {
            match path.file_name().and_then(|name| name.to_str()) {
                Some("account.json") => {
                    let text = fs::read_to_string(&path).unwrap();
                    let broken = text.replace("\\r", "").replace("\\n", "");
                    assert_ne!(text, broken, "{path:?}");
                    fs::write(&path, broken).unwrap();
                }
                _ => fs::remove_file(&path).unwrap(),
            }
        }
    }

    /// Writes the configuration, with this format of the log and these keys of `[stats]`.
    pub(crate) fn configure(&self, format: &str, stats: &str) {
        let text = format!(
            "[stats]\nlisten = \"{}\"\n{stats}\nadmin = \"token\"\nadmin_token_file = {:?}\n\
             tls = {{ certificates = [\"page.pem\"] }}\n\
             [cli]\nlisten = \"off\"\nsocket = {:?}\n[access_log]\nformat = \"{format}\"\n\
             [gossip]\nlisten = \"{}\"\nkey_file = {:?}\nkeyring_file = {:?}\n\
             [[frontend]]\nname = \"front\"\nlisten = [{{ address = \"{}\", tls = true }}]\n\
             default_backend = \"nodes\"\ntls = {{ certificates = [\"front.pem\"] }}\n{}\
             [[backend]]\nname = \"nodes\"\nsticky = {{ cookie = \"S\", key = \"{STICKY}\" }}\n\
             server = [{{ name = \"a\", address = \"{}\" }}]\n\
             [[backend]]\nname = \"others\"\ncheck = \"off\"\n\
             tls = {{ certificate = \"client.pem\", key = \"client.pem\", verify = false }}\n\
             server = [{{ name = \"b\", address = \"127.0.0.1:1\" }}]\n",
            self.page,
            self.at("admin"),
            self.at("socket"),
            free_address(),
            self.at("gossip"),
            self.at("keys.json"),
            self.front,
            self.acme,
            self.origin.address(),
        );
        self.put("roundel.toml", &text);
    }
}

/// The files in a folder, and in those in it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            false => vec![path],
        })
        .collect()
}

/// Says lines to the runtime API and gives what it answers.
pub(crate) fn say(socket: &Path, lines: &str) -> Vec<u8> {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(lines.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

#[test]
fn what_is_there_is_found() {
    let key = KeyPair::generate().unwrap();
    let (pem, der) = (key.serialize_pem(), key.serialize_der());
    let hex: String = der[36..68].iter().map(|b| format!("{b:02x}")).collect();
    let mut secrets = Secrets::default();
    secrets.pem("a key", &pem);
    secrets.text("a token", READ);
    secrets.search("nothing", b"what everybody may read");
    let shown = [
        format!("error: {pem}"),
        hex,
        format!("{:?}", &der[36..68]),
        format!("{:?}", pem.as_bytes()),
        format!("<{READ}>"),
    ];
    for text in shown {
        let searched = std::panic::catch_unwind(|| secrets.search("it", text.as_bytes()));
        assert!(searched.is_err(), "{text}");
    }
}
