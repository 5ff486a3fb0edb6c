//! What a CA is shown as proof that a name is ours.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;

/// The protocol by which a CA asks for a proof within a handshake. Source: RFC 8737, section 4.
pub const ACME_TLS: &[u8] = b"acme-tls/1";

/// The path below which a CA asks for a proof over plain HTTP. Source: RFC 8555, section 8.3.
const WELL_KNOWN: &str = "/.well-known/acme-challenge/";

/// What a CA is shown as proof that a name is ours, while it is asked to look.
///
/// Shape: one value shared by who orders and all that answer; cheap to clone. Looking up takes no
/// lock and waits for nobody.
#[derive(Debug, Clone, Default)]
pub struct Challenges(Arc<ArcSwap<Answers>>);

#[derive(Debug, Clone, Default)]
struct Answers {
    /// Key authorizations by token.
    http: BTreeMap<String, Arc<str>>,
    /// What the handshake goes on with, by name in small letters.
    tls: BTreeMap<String, Arc<ServerConfig>>,
}

impl Challenges {
    /// What is answered to a plain request for `path`; `None` for what is nobody's proof.
    pub fn http(&self, path: &str) -> Option<Arc<str>> {
        let token = path.strip_prefix(WELL_KNOWN)?;
        self.0.load().http.get(token).cloned()
    }

    /// What a handshake for [`ACME_TLS`] and this name, in small letters, goes on with.
    pub fn tls(&self, name: &str) -> Option<Arc<ServerConfig>> {
        self.0.load().tls.get(name).cloned()
    }

    /// From now on this token is answered.
    pub fn present_http(&self, token: &str, key_authorization: &str) {
        self.change(|answers| {
            answers.http.insert(token.into(), key_authorization.into());
        });
    }

    /// From now on this name, in small letters, is answered.
    pub fn present_tls(&self, name: &str, config: Arc<ServerConfig>) {
        self.change(|answers| {
            answers.tls.insert(name.into(), config.clone());
        });
    }

    /// This token is answered no more.
    pub fn withdraw_http(&self, token: &str) {
        self.change(|answers| {
            answers.http.remove(token);
        });
    }

    /// This name is answered no more.
    pub fn withdraw_tls(&self, name: &str) {
        self.change(|answers| {
            answers.tls.remove(name);
        });
    }

    fn change(&self, change: impl Fn(&mut Answers)) {
        self.0.rcu(|answers| {
            let mut answers = Answers::clone(answers);
            change(&mut answers);
            answers
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_that_is_a_proof_is_answered() {
        let challenges = Challenges::default();
        let reader = challenges.clone();
        challenges.present_http("tok", "tok.thumb");
        let check = |path: &str, expected: Option<&str>| {
            assert_eq!(reader.http(path).as_deref(), expected, "{path}");
        };
        check("/.well-known/acme-challenge/tok", Some("tok.thumb"));
        check("/.well-known/acme-challenge/other", None);
        check("/.well-known/acme-challenge/", None);
        check("/tok", None);
        challenges.withdraw_http("tok");
        check("/.well-known/acme-challenge/tok", None);
    }
}
