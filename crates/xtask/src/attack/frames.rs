//! Frames of HTTP/2, written by hand.

// Frames of HTTP/2: RFC 9113, section 6.
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

// The static table of RFC 7541, appendix A.
pub(super) const GET: u8 = 0x82;
pub(super) const POST: u8 = 0x83;

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("a short frame")
        .to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}

/// The beginning of a connection whose windows are this large.
pub(super) fn preface(window: u32) -> Vec<u8> {
    // SETTINGS_INITIAL_WINDOW_SIZE.
    let setting = [&[0, 4][..], &window.to_be_bytes()].concat();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &setting));
    let more = window - 65_535;
    if more > 0 {
        bytes.extend(frame(WINDOW_UPDATE, 0, 0, &more.to_be_bytes()));
    }
    bytes
}

/// The fields of a request to the trap: method, http, /, authority.
pub(super) fn request(method: u8) -> Vec<u8> {
    [&[method, 0x86, 0x84, 0x01, 4][..], b"trap"].concat()
}

/// A field without an index and without Huffman's code.
pub(super) fn literal(name: &str, value: &str) -> Vec<u8> {
    let word = |text: &str| [&[text.len() as u8][..], text.as_bytes()].concat();
    [vec![0], word(name), word(value)].concat()
}
