//! A balancer with written rules before one server that keeps the requests it gets.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use roundel_testkit::{Connection, Origin, Received, Reply, Response, free_port, loopback, poll};
use serde_json::Value;
use tempfile::TempDir;

use crate::balancer::{Balancer, SOON};

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Http {
    One,
    Two,
}

pub(super) const BOTH: [Http; 2] = [Http::One, Http::Two];

/// A field of a message.
pub(super) type Pair<'a> = (&'a str, &'a str);

pub(super) struct Setting {
    pub(super) balancer: Balancer,
    folder: TempDir,
    origin: Option<Origin>,
    seen: Arc<Mutex<Vec<Received>>>,
}

impl Setting {
    /// Starts a balancer with these keys of its frontend and its backend, in whose folder these
    /// files lie. The server answers 200, or what the path's number says.
    pub(super) fn start(frontend: &str, backend: &str, files: &[Pair<'_>]) -> Self {
        let seen: Arc<Mutex<Vec<Received>>> = Arc::default();
        let kept = Arc::clone(&seen);
        let origin = Origin::start(move |request| {
            kept.lock().unwrap().push(request.clone());
            let status = request.target[1..].parse().unwrap_or(200);
            let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            Reply {
                status,
                headers: vec![pair("X-Powered-By", "origin"), pair("Server", "nginx")],
                body: b"served".to_vec(),
            }
        });
        let mut setting = Self::before(origin.address(), frontend, backend, files);
        setting.origin = Some(origin);
        setting.seen = seen;
        setting
    }

    /// As [`Self::start`], before a server of the test's own.
    pub(super) fn before(
        server: SocketAddr,
        frontend: &str,
        backend: &str,
        files: &[Pair<'_>],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let ip = loopback();
        let [front, stats] = [(); 2].map(|()| SocketAddr::from((ip, free_port(ip))));
        let text = format!(
            "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n\
             [[frontend]]\nname = \"front\"\nlisten = [\"{front}\"]\ndefault_backend = \"nodes\"\n{frontend}\n\
             [[backend]]\nname = \"nodes\"\ncheck = \"off\"\n\
             server = [{{ name = \"s1\", address = \"{server}\" }}]\n{backend}\n"
        );
        let path = folder.path().join("rules.toml");
        fs::write(&path, text).unwrap();
        let balancer = Balancer::with_file(path.to_str().unwrap(), [front, stats]);
        balancer.wait_up(1, SOON);
        Self {
            balancer,
            folder,
            origin: None,
            seen: Arc::default(),
        }
    }

    /// The folder of the configuration.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// How many requests the server was sent whole.
    pub(super) fn served(&self) -> u64 {
        self.origin.as_ref().map_or(0, Origin::requests)
    }

    /// Sends a request without body on a connection of its own. The Host is `a.example`.
    pub(super) fn ask(
        &self,
        http: Http,
        method: &str,
        path: &str,
        fields: &[Pair<'_>],
    ) -> Response {
        match http {
            Http::One => {
                let mut all = vec![("Host", "a.example")];
                all.extend_from_slice(fields);
                let mut connection = Connection::open(self.balancer.front).unwrap();
                connection.send(method, path, &all, b"").unwrap()
            }
            Http::Two => ask2(self.balancer.front, method, path, fields, b"").unwrap(),
        }
    }

    pub(super) fn get(&self, http: Http, path: &str, fields: &[Pair<'_>]) -> Response {
        self.ask(http, "GET", path, fields)
    }

    /// The last request that the server saw and no test has looked at.
    pub(super) fn last(&self) -> Option<Received> {
        self.seen.lock().unwrap().pop()
    }

    /// Waits for a line of the access log with this reason word and status, 0 for none. Lines of two
    /// connections come in any order: each worker writes its own.
    pub(super) fn log(&self, word: &str, status: u16) -> Value {
        let process = &self.balancer.process;
        let wanted = |line: &Value| {
            let logged = line["status"].as_u64().unwrap_or_default();
            line["term"] == word && logged == u64::from(status)
        };
        poll(SOON, || {
            let text = process.stdout();
            let lines = text
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok());
            lines.into_iter().find(wanted)
        })
        .unwrap_or_else(|| panic!("no line with {word} and {status}\n{process}"))
    }
}

/// Every value of a field, in order.
pub(super) fn all<'a>(headers: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    let of_name = headers.iter().filter(|(n, _)| n == name);
    of_name.map(|(_, value)| value.as_str()).collect()
}

/// Sends one request over HTTP/2 with prior knowledge. Errors: what the `h2` crate says.
pub(super) fn ask2(
    to: SocketAddr,
    method: &str,
    path: &str,
    fields: &[Pair<'_>],
    body: &[u8],
) -> Result<Response, h2::Error> {
    let mut request = http::Request::builder()
        .method(method)
        .uri(format!("http://a.example{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let talk = talk(to, request, Bytes::copy_from_slice(body));
    runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(60), talk).await })
        .expect("an answer")
}

async fn talk(
    to: SocketAddr,
    request: http::Request<()>,
    body: Bytes,
) -> Result<Response, h2::Error> {
    let stream = tokio::net::TcpStream::connect(to).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await?;
    tokio::spawn(connection);
    let (answer, mut send) = client
        .ready()
        .await?
        .send_request(request, body.is_empty())?;
    if !body.is_empty() {
        send.send_data(body, true)?;
    }
    let answer = answer.await?;
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = answer.headers().iter();
    let mut response = Response {
        status: answer.status().as_u16(),
        headers: headers.map(|(n, v)| (n.to_string(), text(v))).collect(),
        body: Vec::new(),
    };
    let mut body = answer.into_body();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        let _ = body.flow_control().release_capacity(piece.len());
        response.body.extend_from_slice(&piece);
    }
    Ok(response)
}
