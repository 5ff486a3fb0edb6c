//! A fake HTTP/1.1 origin server.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

/// One request as it came over the wire.
#[derive(Debug, Clone)]
pub struct Received {
    /// The method.
    pub method: String,
    /// The request target.
    pub target: String,
    /// Field names in lower case and values, in the order of arrival.
    pub headers: Vec<(String, String)>,
    /// The body, if it had a Content-Length or came in chunks.
    pub body: Vec<u8>,
}

impl Received {
    /// The first field of that name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// One answer to send.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Extra fields; Content-Length is added.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// A 200 with this text.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: text.into().into_bytes(),
        }
    }
}

type Handler = dyn Fn(&Received) -> Reply + Send + Sync;

/// A listening server; one thread per connection; stops accepting on drop.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Origin {
    /// Starts a server on a free port of 127.0.0.1 that answers with what `handler` says.
    pub fn start(handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_on(([127, 0, 0, 1], 0).into(), handler)
    }

    /// Starts a server that answers every request with its name.
    pub fn named(name: &str) -> Self {
        let name = name.to_string();
        Self::start(move |_| Reply::text(name.clone()))
    }

    /// Starts a server on `address`. Panics if it cannot be bound.
    pub fn start_on(
        address: SocketAddr,
        handler: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).expect("a free address");
        let address = listener.local_addr().expect("a bound socket");
        let stop = Arc::new(AtomicBool::new(false));
        let requests = Arc::new(AtomicU64::new(0));
        let handler: Arc<Handler> = Arc::new(handler);
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&requests));
        let acceptor = thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let (handler, count) = (Arc::clone(&handler), Arc::clone(&count));
                thread::spawn(move || serve(stream, &*handler, &count));
            }
        });
        Self {
            address,
            requests,
            stop,
            acceptor: Some(acceptor),
        }
    }

    /// The bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests were answered, checks included.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// Answers requests until the client ends the connection; errors end it as well.
fn serve(stream: TcpStream, handler: &Handler, count: &AtomicU64) {
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream);
    while let Ok(Some(received)) = read(&mut reader) {
        let reply = handler(&received);
        count.fetch_add(1, Ordering::SeqCst);
        if write(reader.get_mut(), &received, &reply).is_err() {
            return;
        }
        if received.header("connection") == Some("close") {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Received>> {
    let Some(mut received) = read_head(reader)? else {
        return Ok(None);
    };
    read_body(reader, &mut received)?;
    Ok(Some(received))
}

/// Reads a request without its body; `None` at the end of the connection.
pub(crate) fn read_head(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Received>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(String::from);
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    let mut headers = Vec::new();
    loop {
        let mut field = String::new();
        reader.read_line(&mut field)?;
        let Some((name, value)) = field.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_string()));
    }
    Ok(Some(Received {
        method,
        target,
        headers,
        body: Vec::new(),
    }))
}

/// Reads the body that a Content-Length announces, or all of its chunks.
pub(crate) fn read_body(
    reader: &mut BufReader<TcpStream>,
    received: &mut Received,
) -> io::Result<()> {
    if received.header("transfer-encoding") == Some("chunked") {
        return read_chunks(reader, &mut received.body);
    }
    let length = received.header("content-length").map(str::parse);
    received.body = vec![0; length.and_then(Result::ok).unwrap_or(0)];
    reader.read_exact(&mut received.body)
}

fn read_chunks(reader: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim_end(), 16).map_err(io::Error::other)?;
        if size == 0 {
            break;
        }
        reader.by_ref().take(size).read_to_end(body)?;
        reader.read_exact(&mut [0; 2])?;
    }
    // Trailers, and the empty line.
    let mut line = String::from("-");
    while !line.trim_end().is_empty() {
        line.clear();
        reader.read_line(&mut line)?;
    }
    Ok(())
}

/// Sends an answer; one to HEAD without its body.
pub(crate) fn write(stream: &mut TcpStream, received: &Received, reply: &Reply) -> io::Result<()> {
    let mut message = format!("HTTP/1.1 {} Fake\r\n", reply.status);
    for (name, value) in &reply.headers {
        message.push_str(&format!("{name}: {value}\r\n"));
    }
    message.push_str(&format!("Content-Length: {}\r\n\r\n", reply.body.len()));
    let mut message = message.into_bytes();
    if received.method != "HEAD" {
        message.extend_from_slice(&reply.body);
    }
    stream.write_all(&message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Connection, get};

    #[test]
    fn answers_several_requests_on_one_connection() {
        let origin = Origin::start(|r| Reply::text(format!("{} {}", r.method, r.body.len())));
        let mut connection = Connection::open(origin.address()).unwrap();
        let first = connection.send("POST", "/", &[], b"12345").unwrap();
        let second = connection.send("HEAD", "/", &[], b"").unwrap();
        assert_eq!((first.status, first.text()), (200, "POST 5".into()));
        assert_eq!((second.status, second.text()), (200, String::new()));
        assert!(connection.is_open());
        assert_eq!(origin.requests(), 2);
    }

    #[test]
    fn refuses_after_drop() {
        let origin = Origin::named("a");
        let address = origin.address();
        assert_eq!(get(address, "/").unwrap().text(), "a");
        drop(origin);
        assert!(get(address, "/").is_err());
    }
}
