//! Attacks on the data port: clients that take nothing, servers that say what nobody asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use roundel_testkit::{Connection, Response};
use socket2::SockRef;

use super::frames::{
    DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, POST, RST_STREAM, frame, literal, preface,
    request,
};
use super::stage::{Ground, Places};
use super::{Row, row};

/// What servers that send much send, and how often.
static BLOCK: [u8; 64 * 1024] = [b'x'; 64 * 1024];
const BLOCKS: usize = 160;

const PATIENCE: Duration = Duration::from_secs(15);

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("14", "a server that answers twice", twice).more(trap),
        row("15", "a server whose head drips", drip).more(trap),
        row("16", "50 × 100 HTTP/2 streams of 10 MB, unread", streams)
            .more(trap)
            .descriptors(5_500),
        row("21", "HTTP/2 trailers: 200, and pseudo fields", trailers).more(trap),
        row("22", "a server that is the balancer itself", circle).more(own),
        row("heads", "1,500 half heads on the data port", halves),
        row("bodies", "200 answers of 10 MB, unread", bodies).more(trap),
    ]
}

/// A backend whose server is the attacker, for requests to the host `trap`.
pub(super) fn trap(places: &Places) -> String {
    let server = format!("{}:9000", places.attacker);
    backend(&server)
}

/// The same, whose server is the frontend.
fn own(places: &Places) -> String {
    backend(&format!("{}:8080", places.balancer))
}

fn backend(server: &str) -> String {
    format!(
        "route = [{{ host = \"trap\", backend = \"trap\" }}]\n\
         [[backend]]\nname = \"trap\"\nsticky = \"off\"\ncheck = \"off\"\n\
         timeouts = {{ first_byte = \"500ms\" }}\n\
         server = [{{ name = \"t\", address = \"{server}\" }}]\n"
    )
}

/// Accepts until `end`, each connection on a thread of its own.
pub(super) fn serve(
    listener: &TcpListener,
    end: Instant,
    serve: impl Fn(TcpStream) + Clone + Send + 'static,
) {
    // Nothing to be done where that fails but to accept nobody.
    let _ = listener.set_nonblocking(true);
    while Instant::now() < end {
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(Duration::from_millis(1));
            continue;
        };
        let serve = serve.clone();
        let left = end.saturating_duration_since(Instant::now());
        let is_set = stream.set_nonblocking(false).is_ok()
            && stream.set_nodelay(true).is_ok()
            // What waits there is memory of this kernel, and would be another's.
            && SockRef::from(&stream).set_send_buffer_size(BLOCK.len()).is_ok()
            && stream.set_read_timeout(Some(left + PATIENCE)).is_ok()
            && stream.set_write_timeout(Some(left + PATIENCE)).is_ok();
        if is_set {
            let thread = thread::Builder::new().stack_size(256 * 1024);
            let _ = thread.spawn(move || serve(stream));
        }
    }
}

/// Starts such a server on the attacker's host for as long as the attack takes.
pub(super) fn trap_server<'s>(
    ground: &'s Ground<'_>,
    scope: &'s thread::Scope<'s, '_>,
    each: impl Fn(TcpStream) + Clone + Send + 'static,
) -> Result<()> {
    let listener = TcpListener::bind((ground.stage.places.attacker, 9000))?;
    scope.spawn(move || serve(&listener, ground.ends, each));
    Ok(())
}

/// Reads a request's head and gives its first line; `None` at the end of the connection.
pub(super) fn head(reader: &mut BufReader<&TcpStream>) -> Option<String> {
    let (mut first, mut line) = (None, String::new());
    loop {
        line.clear();
        match reader.read_line(&mut line) {
            Ok(0) | Err(_) => return None,
            Ok(_) if line == "\r\n" => return first,
            Ok(_) => drop(first.get_or_insert_with(|| line.clone())),
        }
    }
}

/// Answers every request with the same body.
pub(super) fn greedy(stream: TcpStream, body: &str) {
    let mut reader = BufReader::new(&stream);
    while let Some(request) = head(&mut reader) {
        let mut answer = answer(body);
        if request.starts_with("HEAD ") {
            answer.truncate(answer.len() - body.len());
        }
        if (&stream).write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn answer(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Answers with ten megabytes.
pub(super) fn large(stream: TcpStream) {
    let mut reader = BufReader::new(&stream);
    while head(&mut reader).is_some() {
        let length = BLOCK.len() * BLOCKS;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        let mut sent = (&stream).write_all(head.as_bytes());
        for _ in 0..BLOCKS {
            sent = sent.and_then(|()| (&stream).write_all(&BLOCK));
        }
        if sent.is_err() {
            return;
        }
    }
}

/// One request to the trap on a connection of its own.
fn fall_in(ground: &Ground<'_>) -> Result<Response> {
    let mut connection = Connection::open_within(ground.stage.at(8080), PATIENCE)?;
    Ok(connection.send("GET", "/", &[("Host", "trap")], b"")?)
}

/// The second answer is for nobody.
fn twice(ground: &Ground<'_>) -> Result<()> {
    let answer_twice = |stream: TcpStream| {
        let mut reader = BufReader::new(&stream);
        while head(&mut reader).is_some() {
            let first = (&stream).write_all(answer("first").as_bytes());
            thread::sleep(Duration::from_millis(20));
            if first
                .and_then(|()| (&stream).write_all(answer("second").as_bytes()))
                .is_err()
            {
                return;
            }
        }
    };
    thread::scope(|scope| {
        trap_server(ground, scope, answer_twice)?;
        let (mut asked, mut wrong) = (0, 0);
        while asked < 100 && !ground.left().is_zero() {
            asked += 1;
            wrong += usize::from(fall_in(ground)?.text() == "second");
            thread::sleep(Duration::from_millis(asked % 4 * 7));
        }
        ensure!(
            wrong == 0,
            "{wrong} of {asked} clients got another's answer"
        );
        Ok(())
    })
}

fn drip(ground: &Ground<'_>) -> Result<()> {
    let drip = |stream: TcpStream| {
        let mut reader = BufReader::new(&stream);
        if head(&mut reader).is_some() {
            let mut bytes = b"HTTP/1.1 200 OK\r\nX-Long: "
                .iter()
                .chain([&b'x'].repeat(600));
            while bytes
                .next()
                .is_some_and(|byte| (&stream).write_all(&[*byte]).is_ok())
            {
                thread::sleep(Duration::from_millis(100));
            }
        }
    };
    thread::scope(|scope| {
        trap_server(ground, scope, drip)?;
        let answer = fall_in(ground).context("a head that drips is waited for without end")?;
        ensure!(
            answer.status == 504,
            "a head that drips is a {}",
            answer.status
        );
        Ok(())
    })
}

fn streams(ground: &Ground<'_>) -> Result<()> {
    let mut bytes = preface(i32::MAX.unsigned_abs());
    for stream in (0..100).map(|n| 2 * n + 1) {
        bytes.extend(frame(
            HEADERS,
            END_STREAM | END_HEADERS,
            stream,
            &request(GET),
        ));
    }
    thread::scope(|scope| {
        trap_server(ground, scope, large)?;
        hold(ground, 50, &bytes);
        Ok(())
    })
}

fn bodies(ground: &Ground<'_>) -> Result<()> {
    thread::scope(|scope| {
        trap_server(ground, scope, large)?;
        hold(ground, 200, b"GET / HTTP/1.1\r\nHost: trap\r\n\r\n");
        Ok(())
    })
}

fn halves(ground: &Ground<'_>) -> Result<()> {
    hold(ground, 1_500, b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: ");
    Ok(())
}

/// Holds connections that said this and read nothing until the attack ends.
fn hold(ground: &Ground<'_>, connections: usize, said: &[u8]) {
    let open = |_| {
        let mut connection =
            Connection::open_within(ground.stage.at(8080), Duration::from_secs(2))?;
        connection.put(said).map(|()| connection)
    };
    let held: Vec<_> = (0..connections).map(open).collect();
    thread::sleep(ground.left());
    drop(held);
}

/// What a server hears of a request with these trailers, and whether the client was told no.
fn with_trailers(ground: &Ground<'_>, fields: &[u8]) -> Result<(String, bool)> {
    let (heard, said) = channel::<Vec<u8>>();
    let listen = move |stream: TcpStream| note(&stream, &heard);
    thread::scope(|scope| {
        trap_server(ground, scope, listen)?;
        let mut bytes = preface(65_535);
        bytes.extend(frame(HEADERS, END_HEADERS, 1, &request(POST)));
        bytes.extend(frame(DATA, 0, 1, b"x"));
        bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, 1, fields));
        let mut client = TcpStream::connect(ground.stage.at(8080))?;
        client.write_all(&bytes)?;
        client.set_read_timeout(Some(Duration::from_secs(2)))?;
        let refused = is_refused(&mut client);
        drop(client);
        let said: Vec<u8> = said.try_iter().flatten().collect();
        Ok((String::from_utf8_lossy(&said).into_owned(), refused))
    })
}

/// Passes on what comes, and answers once the request is whole.
fn note(stream: &TcpStream, heard: &Sender<Vec<u8>>) {
    let mut all = Vec::new();
    let mut room = [0; 4096];
    let mut stream = stream;
    while let Ok(length @ 1..) = stream.read(&mut room) {
        all.extend_from_slice(&room[..length]);
        let _ = heard.send(room[..length].to_vec());
        if all.windows(3).any(|end| end == b"0\r\n") && all.ends_with(b"\r\n\r\n") {
            let _ = stream.write_all(answer("heard").as_bytes());
            return;
        }
    }
}

fn trailers(ground: &Ground<'_>) -> Result<()> {
    let many: Vec<u8> = (0..200)
        .flat_map(|n| literal(&format!("t{n}"), "v"))
        .collect();
    let (heard, _) = with_trailers(ground, &many)?;
    ensure!(!heard.contains("t150"), "200 trailers pass");
    let (_, refused) = with_trailers(ground, &literal(":path", "/other"))?;
    ensure!(refused, "a pseudo field in trailers is let pass");
    Ok(())
}

/// One request that goes round until somebody sees it.
fn circle(ground: &Ground<'_>) -> Result<()> {
    let answer = fall_in(ground)?;
    ensure!(answer.status == 508, "a circle is a {}", answer.status);
    Ok(())
}

/// Whether the server ends the stream or the connection by an error.
fn is_refused(client: &mut TcpStream) -> bool {
    let mut head = [0; 9];
    while client.read_exact(&mut head).is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        if client.read_exact(&mut vec![0; length]).is_err() {
            break;
        }
        if matches!(head[3], RST_STREAM | GOAWAY) {
            return true;
        }
    }
    false
}
