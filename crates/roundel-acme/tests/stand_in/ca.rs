//! A small CA that does as it is told: refuses a request, stops at one, says when to renew.
//!
//! Its conversation is that of RFC 8555: 7.1 (resources), 7.2 (nonces), 7.3 (accounts, by their keys),
//! 7.4 (orders; a pending one is given again for the same names, as Let's Encrypt does), 7.5
//! (authorizations), 8.3 (http-01; it looks at once, by asking the shared answers), 6.7 (problems); and
//! of RFC 9773, 4.1 and 4.2 (renewal information), 5 (`replaces`). Challenges of a kind that nobody
//! knows, without a token, stand beside the others, as dns-persist-01 does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use rcgen::{CertificateParams, CertificateSigningRequestParams, Issuer, KeyPair};
use roundel_tls::Challenges;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::mpsc;

/// What it is told to do.
#[derive(Default)]
pub(crate) struct Script {
    /// Answers in place of those that it would give, by step, each once.
    pub(crate) refusals: BTreeMap<&'static str, VecDeque<Refusal>>,
    /// The request at which the client is killed, counted from one, and whether it is done before.
    pub(crate) kill: Option<(usize, Done)>,
    /// How long certificates live, from now.
    pub(crate) life: Option<Duration>,
    /// When it wants certificates renewed: from and to.
    pub(crate) window: Option<(SystemTime, SystemTime)>,
    /// Whether it issues for a key of its own.
    pub(crate) wrong_key: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Done {
    Not,
    Yes,
}

#[derive(Clone)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) retry_after: Option<u64>,
}

impl Refusal {
    pub(crate) fn acme(status: u16, kind: &str, detail: &str) -> Self {
        let body = json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail, "status": status });
        Self {
            status,
            body: body.to_string(),
            retry_after: None,
        }
    }
}

/// What it has been asked and has done.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) script: Script,
    /// The steps that were asked for, in order.
    pub(crate) asked: Vec<&'static str>,
    /// Keys by their thumbprint, in order of arrival: an account is its index.
    pub(crate) accounts: Vec<(String, Value)>,
    pub(crate) orders: Vec<Order>,
    nonces: BTreeSet<String>,
    count: u64,
}

#[derive(Default)]
pub(crate) struct Order {
    names: Vec<String>,
    /// By name whether it is proven, or not with a reason.
    proven: BTreeMap<String, Option<bool>>,
    pub(crate) replaces: Option<String>,
    pub(crate) chain: Option<String>,
    /// How often it is still said to be in work.
    processing: u8,
}

impl Order {
    fn status(&self) -> &'static str {
        let all = |wanted| self.proven.values().all(|p| *p == wanted);
        match &self.chain {
            Some(_) if self.processing > 0 => "processing",
            Some(_) => "valid",
            None if self.proven.values().any(|p| *p == Some(false)) => "invalid",
            None if all(Some(true)) => "ready",
            None => "pending",
        }
    }
}

pub(crate) struct Ca {
    pub(crate) state: Arc<Mutex<State>>,
    folder: tempfile::TempDir,
    port: u16,
}

struct Shared {
    state: Arc<Mutex<State>>,
    base: String,
    issuer: Issuer<'static, KeyPair>,
    root: String,
    challenges: Challenges,
    killed: mpsc::UnboundedSender<()>,
    config: Arc<rustls::ServerConfig>,
}

struct Answer {
    status: u16,
    fields: Vec<(&'static str, String)>,
    body: String,
}

impl Ca {
    /// Starts it. A message comes out of the receiver when the client is to be killed.
    pub(crate) fn start(
        script: Script,
        challenges: &Challenges,
    ) -> (Self, mpsc::UnboundedReceiver<()>) {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
        let own = own.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("roots.pem"), own.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.der().clone()], PrivateKeyDer::from(key))
            .unwrap();
        let mut root = CertificateParams::new(vec![]).unwrap();
        root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = root.self_signed(&key).unwrap().pem();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State {
            script,
            ..State::default()
        }));
        let (killed, told) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            state: state.clone(),
            base: format!("https://127.0.0.1:{port}"),
            issuer: Issuer::new(root, key),
            root: pem,
            challenges: challenges.clone(),
            killed,
            config: Arc::new(config),
        });
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = shared.clone();
                thread::spawn(move || serve(client, &shared));
            }
        });
        let ca = Self {
            state,
            folder,
            port,
        };
        (ca, told)
    }

    pub(crate) fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/directory", self.port)
    }

    pub(crate) fn roots(&self) -> PathBuf {
        self.folder.path().join("roots.pem")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn count(&self, step: &str) -> usize {
        let state = self.state.lock().unwrap();
        state.asked.iter().filter(|asked| **asked == step).count()
    }
}

/// One connection, a request after the other; `None` when it ends.
fn serve(mut client: TcpStream, shared: &Shared) -> Option<()> {
    let mut connection = rustls::ServerConnection::new(shared.config.clone()).ok()?;
    let mut stream = BufReader::new(rustls::Stream::new(&mut connection, &mut client));
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let mut words = line.split(' ');
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut length = 0;
        loop {
            let mut field = String::new();
            stream.read_line(&mut field).ok()?;
            match field.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().ok()?;
                }
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        let answer = shared.answer(&path, &body)?;
        let mut head = format!(
            "HTTP/1.1 {} x\r\nContent-Length: {}\r\n",
            answer.status,
            answer.body.len()
        );
        for (name, value) in answer.fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let body = if method == "HEAD" { "" } else { &answer.body };
        let whole = format!("{head}\r\n{body}");
        stream.get_mut().write_all(whole.as_bytes()).ok()?;
    }
}

fn step(path: &str) -> &'static str {
    let known = [
        "directory",
        "nonce",
        "account",
        "new-order",
        "order",
        "authorization",
        "challenge",
        "finalize",
        "certificate",
        "renewal",
    ];
    let first = path.split('/').nth(1).unwrap_or_default();
    known
        .into_iter()
        .find(|step| *step == first)
        .unwrap_or("unknown")
}

impl Shared {
    /// `None` for a request that is never answered.
    fn answer(&self, path: &str, body: &[u8]) -> Option<Answer> {
        let step = step(path);
        let mut state = self.state.lock().unwrap();
        state.asked.push(step);
        let kill = state.script.kill.filter(|(at, _)| *at == state.asked.len());
        if kill.is_some_and(|(_, done)| done == Done::Not) {
            let _ = self.killed.send(());
            return None;
        }
        let refusal = state
            .script
            .refusals
            .get_mut(step)
            .and_then(VecDeque::pop_front);
        let mut answer = match refusal {
            Some(refusal) => refused(refusal),
            None => self
                .act(&mut state, step, path, body)
                .unwrap_or_else(refused),
        };
        if kill.is_some() {
            let _ = self.killed.send(());
            return None;
        }
        let nonce = state.next().to_string();
        answer.fields.push(("Replay-Nonce", nonce.clone()));
        state.nonces.insert(nonce);
        Some(answer)
    }

    fn act(
        &self,
        state: &mut State,
        step: &str,
        path: &str,
        body: &[u8],
    ) -> Result<Answer, Refusal> {
        match step {
            "directory" => return Ok(json_answer(200, self.directory(state))),
            "nonce" => return Ok(json_answer(200, json!(null))),
            "renewal" => return self.renewal(state),
            _ => {}
        }
        let (account, payload) = self.verified(state, path, body)?;
        let id = path.rsplit('/').next().unwrap_or_default();
        match step {
            "account" => {
                let url = format!("{}/account/{account}", self.base);
                Ok(json_answer(201, json!({ "status": "valid" })).with("Location", url))
            }
            "new-order" => Ok(self.new_order(state, &payload)),
            "challenge" => self.challenge(state, account, id),
            "authorization" => self.authorization(state, id),
            "order" => self.order(state, id),
            "finalize" => self.finalize(state, id, &payload),
            "certificate" => Self::certificate(state, id),
            _ => Err(Refusal::acme(404, "malformed", "no such resource")),
        }
    }

    fn directory(&self, state: &State) -> Value {
        let at = |path: &str| format!("{}/{path}", self.base);
        let mut all = json!({ "newNonce": at("nonce"), "newAccount": at("account"), "newOrder": at("new-order") });
        if state.script.window.is_some() || state.script.refusals.contains_key("renewal") {
            all["renewalInfo"] = json!(at("renewal"));
        }
        all
    }

    /// RFC 8555, 6.2 to 6.5: signature, address, nonce, account.
    fn verified(
        &self,
        state: &mut State,
        path: &str,
        body: &[u8],
    ) -> Result<(usize, Value), Refusal> {
        let bad = |detail: &str| Refusal::acme(400, "malformed", detail);
        let jws: Value = serde_json::from_slice(body).map_err(|_| bad("no JWS"))?;
        let part = |name: &str| jws[name].as_str().unwrap_or_default().to_owned();
        let decode = |text: &str| BASE64URL.decode(text).map_err(|_| bad("no base64url"));
        let protected: Value =
            serde_json::from_slice(&decode(&part("protected"))?).map_err(|_| bad("no head"))?;
        if !state
            .nonces
            .remove(protected["nonce"].as_str().unwrap_or_default())
        {
            return Err(Refusal::acme(400, "badNonce", "used or unknown"));
        }
        if protected["url"] != format!("{}{path}", self.base) {
            return Err(Refusal::acme(
                403,
                "unauthorized",
                "signed for another address",
            ));
        }
        let jwk = &protected["jwk"];
        let account = match jwk.is_object() {
            true => state.account(jwk),
            false => {
                let kid = protected["kid"].as_str().unwrap_or_default();
                let index = kid
                    .rsplit('/')
                    .next()
                    .and_then(|id| id.parse::<usize>().ok());
                let known = index.filter(|index| *index < state.accounts.len());
                known.ok_or_else(|| Refusal::acme(400, "accountDoesNotExist", "no such account"))?
            }
        };
        let key = &state.accounts[account].1;
        let coordinate = |name: &str| decode(key[name].as_str().unwrap_or_default());
        let public = [&[4], &*coordinate("x")?, &*coordinate("y")?].concat();
        let signed = format!("{}.{}", part("protected"), part("payload"));
        let good = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public);
        let signature = decode(&part("signature"))?;
        good.verify(signed.as_bytes(), &signature)
            .map_err(|_| bad("a signature of another key"))?;
        let payload = serde_json::from_slice(&decode(&part("payload"))?);
        Ok((account, payload.unwrap_or_default()))
    }

    fn new_order(&self, state: &mut State, payload: &Value) -> Answer {
        let identifiers = payload["identifiers"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let names: Vec<String> = identifiers
            .iter()
            .filter_map(|i| Some(i["value"].as_str()?.to_owned()))
            .collect();
        let open =
            |order: &Order| order.names == names && matches!(order.status(), "pending" | "ready");
        let index = state.orders.iter().position(open).unwrap_or_else(|| {
            state.orders.push(Order {
                proven: names.iter().map(|name| (name.clone(), None)).collect(),
                names: names.clone(),
                replaces: payload["replaces"].as_str().map(String::from),
                ..Order::default()
            });
            state.orders.len() - 1
        });
        let url = format!("{}/order/{index}", self.base);
        self.shown(state, index, 201).with("Location", url)
    }

    fn shown(&self, state: &State, index: usize, status: u16) -> Answer {
        let order = &state.orders[index];
        let at = |kind: &str, id: String| format!("{}/{kind}/{id}", self.base);
        let authorizations: Vec<_> = (0..order.names.len())
            .map(|n| at("authorization", format!("{index}-{n}")))
            .collect();
        let mut body = json!({ "status": order.status(), "authorizations": authorizations,
            "finalize": at("finalize", index.to_string()) });
        if order.chain.is_some() {
            body["certificate"] = json!(at("certificate", index.to_string()));
        }
        if let Some(replaces) = &order.replaces {
            body["replaces"] = json!(replaces);
        }
        json_answer(status, body)
    }

    fn order(&self, state: &mut State, id: &str) -> Result<Answer, Refusal> {
        let index = place(state, id)?;
        let answer = self.shown(state, index, 200);
        let order = &mut state.orders[index];
        order.processing = order.processing.saturating_sub(1);
        Ok(answer)
    }

    fn authorization(&self, state: &State, id: &str) -> Result<Answer, Refusal> {
        let (index, name) = pair(state, id)?;
        let status = match state.orders[index].proven[&name] {
            None => "pending",
            Some(true) => "valid",
            Some(false) => "invalid",
        };
        let mut http = json!({ "type": "http-01", "url": format!("{}/challenge/{id}", self.base), "token": token(id), "status": status });
        if status == "invalid" {
            http["error"] = json!({ "type": "urn:ietf:params:acme:error:incorrectResponse", "detail": "not what was asked for" });
        }
        let unknown = json!({ "type": "dns-persist-01", "url": format!("{}/unknown", self.base), "status": "pending" });
        let body = json!({ "identifier": { "type": "dns", "value": name }, "status": status, "challenges": [unknown, http] });
        Ok(json_answer(200, body))
    }

    /// Looks at once whether the proof is shown.
    fn challenge(&self, state: &mut State, account: usize, id: &str) -> Result<Answer, Refusal> {
        let (index, name) = pair(state, id)?;
        let expected = format!("{}.{}", token(id), state.accounts[account].0);
        let shown = self
            .challenges
            .http(&format!("/.well-known/acme-challenge/{}", token(id)));
        let proven = shown.as_deref() == Some(&expected);
        state.orders[index].proven.insert(name, Some(proven));
        let body = json!({ "type": "http-01", "url": format!("{}/challenge/{id}", self.base), "token": token(id), "status": "processing" });
        Ok(json_answer(200, body))
    }

    fn finalize(&self, state: &mut State, id: &str, payload: &Value) -> Result<Answer, Refusal> {
        let index = place(state, id)?;
        if state.orders[index].status() != "ready" {
            return Err(Refusal::acme(403, "orderNotReady", "it is not ready"));
        }
        let bad = |_| Refusal::acme(400, "badCSR", "it cannot be read");
        let csr = BASE64URL.decode(payload["csr"].as_str().unwrap_or_default());
        let csr = csr.map_err(|_| Refusal::acme(400, "badCSR", "no base64url"))?;
        let mut csr = CertificateSigningRequestParams::from_der(&csr.into()).map_err(bad)?;
        let now = SystemTime::now();
        csr.params.not_before = OffsetDateTime::from(now);
        let life = state.script.life.unwrap_or(Duration::from_hours(24 * 90));
        csr.params.not_after = OffsetDateTime::from(now + life);
        csr.params.use_authority_key_identifier_extension = true;
        csr.params.serial_number = Some(state.next().into());
        let leaf = match state.script.wrong_key {
            true => csr
                .params
                .signed_by(&KeyPair::generate().unwrap(), &self.issuer),
            false => csr.signed_by(&self.issuer),
        };
        let order = &mut state.orders[index];
        order.chain = Some(format!("{}{}", leaf.map_err(bad)?.pem(), self.root));
        order.processing = 1;
        Ok(self.shown(state, index, 200))
    }

    fn certificate(state: &State, id: &str) -> Result<Answer, Refusal> {
        let chain = state.orders[place(state, id)?].chain.clone();
        Ok(Answer {
            status: 200,
            fields: vec![("Content-Type", "application/pem-certificate-chain".into())],
            body: chain.unwrap_or_default(),
        })
    }

    fn renewal(&self, state: &State) -> Result<Answer, Refusal> {
        let none = || Refusal::acme(404, "malformed", "no such certificate");
        let (start, end) = state.script.window.ok_or_else(none)?;
        let text = |time| OffsetDateTime::from(time).format(&Rfc3339).unwrap();
        let body = json!({ "suggestedWindow": { "start": text(start), "end": text(end) } });
        Ok(json_answer(200, body).with("Retry-After", "3600".into()))
    }
}

impl State {
    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// The account of a key, made if there is none. RFC 7638 says what its thumbprint is.
    fn account(&mut self, jwk: &Value) -> usize {
        let text = format!(
            r#"{{"crv":{},"kty":{},"x":{},"y":{}}}"#,
            jwk["crv"], jwk["kty"], jwk["x"], jwk["y"]
        );
        let thumb = BASE64URL.encode(digest(&SHA256, text.as_bytes()));
        let known = self.accounts.iter().position(|(known, _)| *known == thumb);
        known.unwrap_or_else(|| {
            self.accounts.push((thumb, jwk.clone()));
            self.accounts.len() - 1
        })
    }
}

impl Answer {
    fn with(mut self, name: &'static str, value: String) -> Self {
        self.fields.push((name, value));
        self
    }
}

fn json_answer(status: u16, body: Value) -> Answer {
    Answer {
        status,
        fields: vec![("Content-Type", "application/json".into())],
        body: body.to_string(),
    }
}

fn refused(refusal: Refusal) -> Answer {
    let json = refusal.body.starts_with('{');
    let kind = if json {
        "application/problem+json"
    } else {
        "text/html"
    };
    let mut fields = vec![("Content-Type", kind.to_owned())];
    fields.extend(
        refusal
            .retry_after
            .map(|seconds| ("Retry-After", seconds.to_string())),
    );
    Answer {
        status: refusal.status,
        fields,
        body: refusal.body,
    }
}

fn token(id: &str) -> String {
    format!("token-{id}")
}

fn place(state: &State, id: &str) -> Result<usize, Refusal> {
    let index = id.parse().ok().filter(|index| *index < state.orders.len());
    index.ok_or_else(|| Refusal::acme(404, "malformed", "no such order"))
}

fn pair(state: &State, id: &str) -> Result<(usize, String), Refusal> {
    let (order, name) = id.split_once('-').unwrap_or((id, ""));
    let index = place(state, order)?;
    let name = name
        .parse()
        .ok()
        .and_then(|n: usize| state.orders[index].names.get(n));
    let none = || Refusal::acme(404, "malformed", "no such authorization");
    Ok((index, name.ok_or_else(none)?.clone()))
}
