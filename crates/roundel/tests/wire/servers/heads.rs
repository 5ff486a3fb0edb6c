//! Heads that make much of RFC 7541: by its tables, in pieces, and large, in both directions.

use super::line::*;

/// The field at `index` of both tables.
fn indexed(index: u8) -> Vec<u8> {
    assert!(index < 127);
    vec![0x80 | index]
}

#[test]
fn heads_in_pieces_and_by_the_table_are_read_as_they_are_meant() {
    let (listener, address) = server();
    let proxy = Proxy::start(&[address], "");
    let mut lines = Vec::new();
    for round in 0..3 {
        let asked = proxy.ask("GET", "");
        if lines.is_empty() {
            lines.push(Line::take(&listener));
        }
        let line = &mut lines[0];
        let stream = line.request();
        let mut block = match round {
            // The table is emptied and grows again; then eighty fields, each kept, of which the oldest fall out.
            0 => [vec![0x20, 0x3f, 0xe1, 0x1f, OK]].concat(),
            _ => vec![OK],
        };
        for n in 0..80 {
            let name = format!("x-{n}");
            // 62 is the newest one of the dynamic table: from the second round on, the last that were kept.
            block.extend(match (round, n) {
                (0, _) => literal(&name, &"v".repeat(n + 1), true),
                (_, 60..) => indexed(u8::try_from(62 + 79 - n).unwrap()),
                _ => literal(&name, &"v".repeat(n + 1), false),
            });
        }
        // In pieces of seven bytes, an empty one among them.
        let pieces: Vec<&[u8]> = block.chunks(7).collect();
        let (first, rest) = pieces.split_first().unwrap();
        let mut bytes = frame(HEADERS, END_STREAM, stream, first);
        // Those that a proxy takes are bounded, so most of it comes in the last one.
        let (few, most) = rest.split_at(4);
        for piece in few {
            bytes.extend(frame(CONTINUATION, 0, stream, piece));
        }
        bytes.extend(frame(CONTINUATION, 0, stream, &[]));
        bytes.extend(frame(CONTINUATION, END_HEADERS, stream, &most.concat()));
        line.send(&bytes);
        let answer = asked.join().unwrap();
        assert_eq!(answer.status, 200);
        for n in 0..80 {
            let value = answer.header(&format!("x-{n}"));
            assert_eq!(value, Some("v".repeat(n + 1).as_str()), "{round}: x-{n}");
        }
    }
}

#[test]
fn an_index_of_no_field_ends_the_connection_and_no_other() {
    let (listener, address) = server();
    let proxy = Proxy::start(&[address], "retries = 0");
    let asked = proxy.ask("GET", "");
    let mut line = Line::take(&listener);
    let stream = line.request();
    let block = [vec![OK], indexed(126)].concat();
    line.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &block));
    assert_eq!(asked.join().unwrap().status, 502);
    line.end();
    let asked = proxy.ask("GET", "");
    let mut line = Line::take(&listener);
    let stream = line.request();
    line.send(&whole(stream, b"hello"));
    assert_eq!(asked.join().unwrap().text(), "hello");
}
