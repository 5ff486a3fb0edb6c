//! Clients that speak HTTP/1.

use std::net::SocketAddr;

use roundel_testkit::{Connection, Dice};

use super::{Done, Wish};

/// Does one thing on a connection of its own.
pub(super) fn act(front: SocketAddr, dice: &mut Dice) -> Result<Done, String> {
    let mut connection = Connection::open(front).map_err(|e| format!("connect: {e}"))?;
    match dice.roll(10) {
        0..3 => one_by_one(&mut connection, dice),
        3..5 => pipelined(&mut connection, dice),
        5 => old(&mut connection, dice),
        6 => half_closed(&mut connection, dice),
        _ => abort(connection, dice),
    }
}

fn one_by_one(connection: &mut Connection, dice: &mut Dice) -> Result<Done, String> {
    let mut answers = 0;
    for _ in 0..=dice.roll(6) {
        let wish = Wish::throw(dice);
        send(connection, &request(&wish, "1.1", dice), &wish)?;
        take(connection, &wish)?;
        answers += 1;
        if !connection.is_open() {
            break;
        }
    }
    Ok(Done::Answers(answers))
}

/// Several requests before the first answer; small ones, so that nobody waits for the other to
/// read.
fn pipelined(connection: &mut Connection, dice: &mut Dice) -> Result<Done, String> {
    let small = |dice: &mut Dice| {
        let mut wish = Wish::throw(dice);
        wish.size %= 2_000;
        wish.body.truncate(2_000);
        wish
    };
    let wishes: Vec<Wish> = (0..2 + dice.roll(5)).map(|_| small(dice)).collect();
    let bytes: Vec<u8> = wishes
        .iter()
        .flat_map(|w| request(w, "1.1", dice))
        .collect();
    send(connection, &bytes, &wishes[0])?;
    for wish in &wishes {
        take(connection, wish)?;
    }
    Ok(Done::Answers(wishes.len() as u64))
}

/// HTTP/1.0, with keep-alive or without.
fn old(connection: &mut Connection, dice: &mut Dice) -> Result<Done, String> {
    let wish = Wish::throw(dice);
    send(connection, &request(&wish, "1.0", dice), &wish)?;
    take(connection, &wish)?;
    Ok(Done::Answers(1))
}

/// A client that has nothing more to say still gets its answer.
fn half_closed(connection: &mut Connection, dice: &mut Dice) -> Result<Done, String> {
    let wish = Wish::throw(dice);
    send(connection, &request(&wish, "1.1", dice), &wish)?;
    let _ = connection.finish();
    take(connection, &wish)?;
    Ok(Done::Answers(1))
}

/// Goes away somewhere: in its request, before the answer, or within it; by reset or by FIN.
fn abort(mut connection: Connection, dice: &mut Dice) -> Result<Done, String> {
    let wish = Wish::throw(dice);
    let bytes = request(&wish, "1.1", dice);
    let cut = match dice.percent(40) {
        true => dice.roll(bytes.len()),
        false => bytes.len(),
    };
    let _ = connection.put(&bytes[..cut]);
    if cut == bytes.len() && dice.percent(60) {
        // A head alone has more than that.
        let rest = if wish.method == "HEAD" { 0 } else { wish.size };
        let _ = connection.take_some(dice.roll(100 + rest) as u64);
    }
    match dice.percent(50) {
        true => drop(connection.reset()),
        false => drop(connection),
    }
    Ok(Done::Aborted)
}

/// The bytes of a request; a body by its length or in chunks.
fn request(wish: &Wish, version: &str, dice: &mut Dice) -> Vec<u8> {
    let mut head = format!(
        "{} {} HTTP/{version}\r\nHost: mixed\r\n",
        wish.method,
        wish.target()
    );
    if version == "1.0" && dice.percent(50) {
        head += "Connection: keep-alive\r\n";
    }
    let has_body = matches!(wish.method, "POST" | "PUT");
    let chunked = has_body && version == "1.1" && dice.percent(50);
    if chunked {
        head += "Transfer-Encoding: chunked\r\n";
    } else if has_body {
        head += &format!("Content-Length: {}\r\n", wish.body.len());
    }
    head += "\r\n";
    let mut bytes = head.into_bytes();
    if !chunked {
        bytes.extend_from_slice(&wish.body);
        return bytes;
    }
    let largest = 1 + dice.roll(20_000);
    for piece in wish.body.chunks(largest) {
        bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        bytes.extend_from_slice(piece);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

fn send(connection: &mut Connection, bytes: &[u8], wish: &Wish) -> Result<(), String> {
    let sent = connection.put(bytes);
    sent.map_err(|e| format!("sending {} {}: {e}", wish.method, wish.target()))
}

fn take(connection: &mut Connection, wish: &Wish) -> Result<(), String> {
    let answer = connection.take(wish.method);
    let answer = answer.map_err(|e| {
        let sent = wish.body.len();
        format!(
            "reading {} {} ({sent} sent): {e}",
            wish.method,
            wish.target()
        )
    })?;
    let field = |name| answer.header(name);
    wish.judge(answer.status, field("x-id"), field("x-got"), &answer.body)
}
