//! Application servers that can be stopped and started at their address.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

use roundel_testkit::{free_address, wait_for};

use crate::balancer::SOON;

/// A server that answers every request with its name, one per connection.
pub(super) struct App {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    running: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl App {
    pub(super) fn start(name: &str) -> Self {
        // Another test may take a free port before it is used here.
        let listener = wait_for("a port", SOON, || TcpListener::bind(free_address()).ok());
        let mut app = Self {
            name: name.to_owned(),
            address: listener.local_addr().unwrap(),
            running: None,
        };
        app.serve(listener);
        app
    }

    pub(super) fn is_up(&self) -> bool {
        self.running.is_some()
    }

    /// Listens, if it does not.
    pub(super) fn up(&mut self) {
        if self.is_up() {
            return;
        }
        let listener = TcpListener::bind(self.address).unwrap();
        self.serve(listener);
    }

    fn serve(&mut self, listener: TcpListener) {
        let stop = Arc::new(AtomicBool::new(false));
        let (name, seen) = (self.name.clone(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if seen.load(SeqCst) {
                    break;
                }
                let name = name.clone();
                // A client that goes away in the middle is no concern of this server.
                std::thread::spawn(move || stream.map(|stream| answer(stream, &name)));
            }
        });
        self.running = Some((stop, thread));
    }

    /// Stops listening: the next connect is refused.
    pub(super) fn down(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            stop.store(true, SeqCst);
            drop(TcpStream::connect(self.address));
            thread.join().unwrap();
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.down();
    }
}

fn answer(mut stream: TcpStream, name: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte)? == 0 {
            return Ok(());
        }
        head.push(byte[0]);
    }
    let body = if head.starts_with(b"HEAD") { "" } else { name };
    let length = name.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}
