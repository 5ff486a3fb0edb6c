//! What is ordered, of whom, and on what conditions.

use std::path::PathBuf;

use http::Uri;

/// The most names that one certificate may have. Source: Let's Encrypt's limit.
const MOST_NAMES: usize = 100;

/// What is ordered, of whom, and on what conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the CA writes to about the account; `None` where it knows nobody.
    pub email: Option<String>,
    /// Whether the CA's terms of service are accepted. Nothing is ordered without.
    pub accept_terms: bool,
    /// The DNS names of the certificate, in ASCII; the first also names its files. At most 100.
    pub names: Vec<String>,
    /// The address of the CA's directory, with `https`.
    pub directory: String,
    /// The roots by which the CA's own address is verified (PEM), in place of those that Mozilla
    /// trusts.
    pub ca_file: Option<PathBuf>,
    /// The account with the CA to which the one that is made belongs, for CAs that ask for it.
    pub eab: Option<ExternalAccount>,
    /// The directory in which the account, orders and certificates are kept.
    pub state: PathBuf,
    /// How the names are proven.
    pub challenge: Challenge,
}

/// An account that the CA knows already by other means. Source: RFC 8555, section 7.3.4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalAccount {
    /// The identifier of its key, as the CA gave it.
    pub kid: String,
    /// A file with the key as the CA gave it, in base64url.
    pub hmac_file: PathBuf,
}

/// How a name is proven to be ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Challenge {
    /// The CA asks port 80 over plain HTTP.
    #[default]
    Http01,
    /// The CA asks port 443 within a handshake.
    TlsAlpn01,
}

impl std::fmt::Display for Challenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        })
    }
}

/// What is wrong with a [`Config`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ConfigError {
    #[error("a CA issues nothing for who does not accept its terms of service")]
    Terms,
    #[error("there is no name to order a certificate for")]
    NoNames,
    #[error("{0} names are more than one certificate may have; {MOST_NAMES} are the most")]
    TooManyNames(usize),
    #[error("`{0}` is a wildcard, and those are proven by DNS only")]
    Wildcard(String),
    #[error("`{0}` is no DNS name that a CA knows: {1}")]
    Name(String, &'static str),
    #[error("`{0}` is not the address of a CA's directory: {1}")]
    Directory(String, &'static str),
    #[error("`{0}` is no address of mail")]
    Email(String),
}

impl ConfigError {
    /// What to do about it.
    pub fn cure(&self) -> &'static str {
        match self {
            Self::Terms => "read them and write accept_terms = true",
            Self::NoNames => "write names = [\"www.example.org\"]",
            Self::TooManyNames(_) => "divide them among several frontends",
            Self::Wildcard(_) => "list the names, or give a certificate from a file",
            Self::Name(..) => "write a name that points to this balancer, such as www.example.org",
            Self::Directory(..) => {
                "write https://acme-v02.api.letsencrypt.org/directory, or what the CA gives"
            }
            Self::Email(_) => "write one address, such as ops@example.org, or leave it out",
        }
    }

    /// The key of the configuration that is to be mended.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Terms => "accept_terms",
            Self::Directory(..) => "directory",
            Self::Email(_) => "email",
            _ => "names",
        }
    }
}

impl Config {
    /// Everything that is wrong, in the order of the fields. Looks at no file.
    pub fn check(&self) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        let is_mail = |mail: &&String| !mail_address(mail);
        errors.extend(
            self.email
                .iter()
                .filter(is_mail)
                .cloned()
                .map(ConfigError::Email),
        );
        if !self.accept_terms {
            errors.push(ConfigError::Terms);
        }
        match self.names.len() {
            0 => errors.push(ConfigError::NoNames),
            count if count > MOST_NAMES => errors.push(ConfigError::TooManyNames(count)),
            _ => {}
        }
        errors.extend(self.names.iter().filter_map(|name| check_name(name).err()));
        errors.extend(check_directory(&self.directory).err());
        errors
    }

    /// The names in small letters, each once, sorted: what makes two certificates the same.
    pub(crate) fn set(&self) -> Vec<String> {
        let mut names: Vec<_> = self.names.iter().map(|n| n.to_ascii_lowercase()).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// One `@` with something on both sides and nothing that could end it within a URL.
fn mail_address(text: &str) -> bool {
    let fine = |part: &str| {
        let odd = |c: char| !c.is_ascii_graphic() || "@,?&<>\"".contains(c);
        !part.is_empty() && !part.contains(odd)
    };
    text.split_once('@')
        .is_some_and(|(user, host)| fine(user) && fine(host))
}

/// Source: RFC 1123, section 2.1; RFC 5890 for names in other letters.
fn check_name(name: &str) -> Result<(), ConfigError> {
    let no = |why| Err(ConfigError::Name(name.into(), why));
    let labels = || name.split('.');
    let odd = |c: char| !c.is_ascii_alphanumeric() && c != '-';
    match name {
        _ if name.starts_with("*.") => Err(ConfigError::Wildcard(name.into())),
        _ if name.parse::<std::net::IpAddr>().is_ok() => no("it is an address"),
        _ if !name.is_ascii() => no("write it in ASCII, as xn--…"),
        _ if name.len() > 253 => no("it is longer than 253 letters"),
        _ if labels().any(str::is_empty) => no("a label is empty"),
        _ if labels().any(|label| label.len() > 63) => no("a label is longer than 63 letters"),
        _ if labels().any(|label| label.contains(odd)) => {
            no("only letters, digits and hyphens may stand in it")
        }
        _ if labels().any(|label| label.starts_with('-') || label.ends_with('-')) => {
            no("a label begins or ends with a hyphen")
        }
        _ if labels().count() < 2 => no("it has one label only"),
        _ if labels()
            .next_back()
            .is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit())) =>
        {
            no("its last label is a number")
        }
        _ => Ok(()),
    }
}

fn check_directory(url: &str) -> Result<(), ConfigError> {
    let no = |why| Err(ConfigError::Directory(url.into(), why));
    let Ok(uri) = url.parse::<Uri>() else {
        return no("it is no URL");
    };
    match (uri.scheme_str(), uri.authority()) {
        (Some("https"), Some(authority)) if authority.as_str().contains('@') => {
            no("it has a login in it")
        }
        (Some("https"), Some(_)) => Ok(()),
        _ => no("it does not begin with https://"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config {
            email: None,
            accept_terms: true,
            names: vec!["www.example.org".into()],
            directory: "https://ca.example/dir".into(),
            ca_file: None,
            eab: None,
            state: "state".into(),
            challenge: Challenge::Http01,
        }
    }

    #[test]
    fn names_that_no_ca_proves_are_refused_with_the_reason() {
        let check = |name: &str, expected: &str| {
            let names = vec![name.into()];
            let errors = Config { names, ..config() }.check();
            let text: Vec<_> = errors.iter().map(ToString::to_string).collect();
            assert!(
                text.iter().any(|t| t.contains(expected)),
                "{name}: {text:?}"
            );
            assert!(errors.iter().all(|e| e.key() == "names"));
        };
        check("*.example.org", "proven by DNS only");
        check("10.0.0.1", "an address");
        check("::1", "an address");
        check("1.2.3.4.5", "last label is a number");
        check("localhost", "one label");
        check("a..b", "a label is empty");
        check("example.org.", "a label is empty");
        check("bücher.example", "xn--");
        check("a_b.example", "only letters");
        check("a b.example", "only letters");
        check("-a.example", "hyphen");
        check(&format!("{}.example", "a".repeat(64)), "longer than 63");
        check(&["abcdefgh"; 32].join("."), "longer than 253");
        let fine = [
            "www.example.org",
            "xn--bcher-kva.example",
            "A-1.Example.ORG",
        ];
        let names = fine.map(String::from).to_vec();
        assert_eq!(Config { names, ..config() }.check(), []);
    }

    #[test]
    fn what_no_order_can_be_made_of_is_refused_all_at_once() {
        let bad = Config {
            email: Some("nobody".into()),
            accept_terms: false,
            names: vec![],
            directory: "http://ca.example/dir".into(),
            ..config()
        };
        let keys: Vec<_> = bad.check().iter().map(ConfigError::key).collect();
        assert_eq!(keys, ["email", "accept_terms", "names", "directory"]);
        for directory in [
            "",
            "/dir",
            "https://",
            "https://me:pass@ca.example/",
            "ca.example",
        ] {
            let directory = directory.to_owned();
            assert_eq!(
                Config {
                    directory,
                    ..config()
                }
                .check()
                .len(),
                1
            );
        }
        let names = (0..101).map(|n| format!("n{n}.example")).collect();
        let errors = Config { names, ..config() }.check();
        assert_eq!(errors, [ConfigError::TooManyNames(101)]);
    }

    #[test]
    fn a_set_of_names_is_the_same_in_any_order() {
        let names = ["B.example", "a.example", "b.example"].map(String::from);
        let set = Config {
            names: names.into(),
            ..config()
        }
        .set();
        assert_eq!(set, ["a.example", "b.example"]);
    }
}
