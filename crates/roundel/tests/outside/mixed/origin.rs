//! A server that frames its answers in every way.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use roundel_testkit::{Dice, hash};

use super::Wish;

/// Starts a server that lives as long as the test's process.
pub(super) fn start() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let _ = stream.set_nodelay(true);
                let mut reader = BufReader::new(stream);
                while let Ok(true) = serve(&mut reader) {}
            });
        }
    });
    address
}

/// Answers one request; says whether the connection goes on.
fn serve(reader: &mut BufReader<TcpStream>) -> io::Result<bool> {
    let first = line(reader)?;
    let mut words = first.split(' ');
    let (method, target) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let (mut length, mut chunked) = (0, false);
    loop {
        let field = line(reader)?.to_ascii_lowercase();
        match field.split_once(": ") {
            None => break,
            Some(("content-length", value)) => length = value.parse().unwrap_or(0),
            Some(("transfer-encoding", _)) => chunked = true,
            Some(_) => {}
        }
    }
    let body = match chunked {
        true => chunks(reader)?,
        false => exactly(reader, length)?,
    };
    let Some((id, size, coding)) = Wish::parse(target) else {
        reader
            .get_mut()
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        return Ok(true);
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nX-Id: {id}\r\nX-Got: {}\r\n",
        hash(&body)
    );
    let mut answer = Dice::new(id).bytes(size);
    if method == "HEAD" {
        answer.clear();
    }
    answer_with(reader.get_mut(), head, &answer, size, method, &coding)
}

fn answer_with(
    stream: &mut TcpStream,
    mut head: String,
    body: &[u8],
    size: usize,
    method: &str,
    coding: &str,
) -> io::Result<bool> {
    head += &match coding {
        "chunked" => "Transfer-Encoding: chunked\r\n\r\n".to_owned(),
        "close" => "Connection: close\r\n\r\n".to_owned(),
        _ => format!("Content-Length: {size}\r\n\r\n"),
    };
    stream.write_all(head.as_bytes())?;
    if coding != "chunked" || method == "HEAD" {
        stream.write_all(body)?;
        return Ok(coding != "close");
    }
    // Pieces of odd sizes, so that chunks and reads do not line up.
    for piece in body.chunks(1 + size % 7_919) {
        stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
        stream.write_all(&[piece, b"\r\n"].concat())?;
    }
    stream.write_all(b"0\r\n\r\n")?;
    Ok(true)
}

fn chunks(reader: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = line(reader)?;
        let size = usize::from_str_radix(&size, 16).map_err(io::Error::other)?;
        if size == 0 {
            while !line(reader)?.is_empty() {}
            return Ok(body);
        }
        body.extend(exactly(reader, size)?);
        line(reader)?;
    }
}

fn exactly(reader: &mut BufReader<TcpStream>, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn line(reader: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(text) => Ok(text.to_owned()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
