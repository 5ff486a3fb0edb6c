//! A strict reader of HTTP/1 messages, written from RFC 9112 for tests.

/// One message, its bytes as Latin-1 text so that every byte can be compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// The first line.
    pub line: String,
    /// Names in lower case and values, in order.
    pub fields: Vec<(String, String)>,
    /// The body, decoded.
    pub body: Vec<u8>,
    /// Names in lower case and values behind a chunked body.
    pub trailers: Vec<(String, String)>,
    /// The body ends with the connection.
    pub until_close: bool,
}

impl Message {
    /// The values of one field, given in lower case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.fields.iter().filter(move |(n, _)| n == name);
        named.map(|(_, value)| value.as_str())
    }

    /// The first value of one field.
    pub fn first(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A word of the first line.
    pub fn word(&self, index: usize) -> &str {
        self.line.split(' ').nth(index).unwrap_or_default()
    }

    /// The status of a response; 0 if there is none.
    pub fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or_default()
    }
}

/// What the bytes at hand are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// A message and the number of its bytes.
    Whole(Message, usize),
    /// The head with what came of the body.
    Head(Message),
    /// Too few bytes for a head.
    Little,
    /// Not HTTP/1, and why.
    Bad(String),
}

/// Shows bytes as Latin-1 text.
pub fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(*b)).collect()
}

/// Reads a request from the start of `bytes`.
pub fn request(bytes: &[u8]) -> Parsed {
    read(bytes, |message| {
        let words: Vec<&str> = message.line.split(' ').collect();
        let [method, target, version] = words[..] else {
            return Err(format!("request line {:?}", message.line));
        };
        if !is_token(method) || target.is_empty() || !target.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(format!("request line {:?}", message.line));
        }
        if !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
            return Err(format!("version {version:?}"));
        }
        let hosts = message.all("host").count();
        if hosts > 1 || (hosts == 0 && version == "HTTP/1.1") {
            return Err(format!("{hosts} Host fields"));
        }
        let framing = framing(message)?;
        Ok(framing.unwrap_or(Framing::Length(0)))
    })
}

/// Reads a response from the start of `bytes`; `method` is that of its request, and `ended` says
/// that nothing follows.
pub fn response(bytes: &[u8], method: &str, ended: bool) -> Parsed {
    let parsed = read(bytes, |message| {
        let line = message.line.as_bytes();
        let digits = line
            .get(9..12)
            .is_some_and(|s| s.iter().all(u8::is_ascii_digit));
        let version = line.starts_with(b"HTTP/1.1 ") || line.starts_with(b"HTTP/1.0 ");
        // Some servers leave out the space before an empty reason; a proxy must write it.
        if !version || !digits || line.get(12) != Some(&b' ') {
            return Err(format!("status line {:?}", message.line));
        }
        let status = message.status();
        let framing = framing(message)?;
        if status < 200 || status == 204 {
            let has = |name| message.first(name).is_some();
            if has("content-length") || has("transfer-encoding") {
                return Err(format!("framing fields with {status}"));
            }
        }
        if status < 200 || status == 204 || status == 304 || method == "HEAD" {
            return Ok(Framing::Length(0));
        }
        if method == "CONNECT" && status < 300 {
            return Ok(Framing::Length(0));
        }
        Ok(framing.unwrap_or(Framing::UntilClose))
    });
    match parsed {
        Parsed::Head(message) if message.until_close && ended => {
            Parsed::Whole(message, bytes.len())
        }
        other => other,
    }
}

#[derive(Debug, Clone, Copy)]
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

fn read(bytes: &[u8], judge: impl Fn(&Message) -> Result<Framing, String>) -> Parsed {
    let Some(end) = find(bytes, b"\r\n\r\n") else {
        return match bytes.contains(&0) {
            true => Parsed::Bad("NUL in a head".to_owned()),
            false => Parsed::Little,
        };
    };
    let mut message = match head(&bytes[..end]) {
        Ok(message) => message,
        Err(why) => return Parsed::Bad(why),
    };
    let framing = match judge(&message) {
        Ok(framing) => framing,
        Err(why) => return Parsed::Bad(why),
    };
    let body = &bytes[end + 4..];
    match framing {
        Framing::Length(length) => {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let have = body.len().min(length);
            message.body = body[..have].to_vec();
            match have == length {
                true => Parsed::Whole(message, end + 4 + length),
                false => Parsed::Head(message),
            }
        }
        Framing::UntilClose => {
            message.body = body.to_vec();
            message.until_close = true;
            Parsed::Head(message)
        }
        Framing::Chunked => match chunked(body, &mut message) {
            Ok(Some(used)) => Parsed::Whole(message, end + 4 + used),
            Ok(None) => Parsed::Head(message),
            Err(why) => Parsed::Bad(why),
        },
    }
}

fn head(bytes: &[u8]) -> Result<Message, String> {
    let mut lines = lines(bytes)?;
    let line = lines.remove(0);
    let fields = lines
        .iter()
        .map(|line| field(line))
        .collect::<Result<_, _>>()?;
    Ok(Message {
        line,
        fields,
        ..Message::default()
    })
}

/// Splits at CRLF; a CR, LF or NUL elsewhere is an error.
fn lines(bytes: &[u8]) -> Result<Vec<String>, String> {
    let all = text(bytes);
    let lines: Vec<String> = all.split("\r\n").map(String::from).collect();
    match lines.iter().find(|line| line.contains(['\r', '\n', '\0'])) {
        Some(line) => Err(format!("control byte in {line:?}")),
        None => Ok(lines),
    }
}

fn field(line: &str) -> Result<(String, String), String> {
    let (name, value) = line
        .split_once(':')
        .ok_or(format!("no colon in {line:?}"))?;
    let control = |c: char| (c < ' ' && c != '\t') || c == '\x7f';
    if !is_token(name) || value.contains(control) {
        return Err(format!("field {line:?}"));
    }
    Ok((
        name.to_ascii_lowercase(),
        value.trim_matches([' ', '\t']).to_owned(),
    ))
}

fn framing(message: &Message) -> Result<Option<Framing>, String> {
    let codings: Vec<&str> = message.all("transfer-encoding").collect();
    let lengths: Vec<&str> = message.all("content-length").collect();
    match (&codings[..], &lengths[..]) {
        ([], []) => Ok(None),
        ([coding], []) if coding.eq_ignore_ascii_case("chunked") => Ok(Some(Framing::Chunked)),
        ([], [length]) => number(length, 10).map(|n| Some(Framing::Length(n))),
        _ => Err(format!("framing {codings:?} {lengths:?}")),
    }
}

fn number(digits: &str, radix: u32) -> Result<u64, String> {
    let plain = (1..=20).contains(&digits.len()) && digits.chars().all(|c| c.is_digit(radix));
    let parsed = u64::from_str_radix(digits, radix).ok().filter(|_| plain);
    parsed.ok_or(format!("number {digits:?}"))
}

/// Decodes chunks. `None`: more is needed.
fn chunked(bytes: &[u8], message: &mut Message) -> Result<Option<usize>, String> {
    let mut at = 0;
    loop {
        let Some(end) = find(&bytes[at..], b"\r\n") else {
            let partial = text(&bytes[at..]);
            let line = partial.strip_suffix('\r').unwrap_or(&partial);
            return match line.contains(['\r', '\n', '\0']) {
                true => Err(format!("chunk line {line:?}")),
                false => Ok(None),
            };
        };
        let line = &lines(&bytes[at..at + end])?[0];
        let size = number(
            line.split(';')
                .next()
                .unwrap_or_default()
                .trim_end_matches([' ', '\t']),
            16,
        )?;
        at += end + 2;
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).map_err(|_| format!("chunk of {size}"))?;
        let have = (bytes.len() - at).min(size);
        message.body.extend_from_slice(&bytes[at..at + have]);
        at += have;
        match bytes[at..].get(..2) {
            Some(b"\r\n") => at += 2,
            Some(other) => return Err(format!("after a chunk: {other:?}")),
            None => return Ok(None),
        }
    }
    if bytes[at..].starts_with(b"\r\n") {
        return Ok(Some(at + 2));
    }
    let Some(end) = find(&bytes[at..], b"\r\n\r\n") else {
        return Ok(None);
    };
    for line in lines(&bytes[at..at + end])? {
        message.trailers.push(field(&line)?);
    }
    Ok(Some(at + end + 4))
}

fn is_token(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(fits)
}

/// Finds `needle`.
pub fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes
        .windows(needle.len())
        .position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_right() {
        let bytes = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\nrest";
        let Parsed::Whole(message, used) = request(bytes) else {
            panic!("not whole");
        };
        assert_eq!(&bytes[used..], b"rest");
        assert_eq!(message.body, b"abc");
        assert_eq!(message.trailers, [("t".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn sees_what_is_wrong() {
        for bad in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\n b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            assert!(matches!(request(bad.as_bytes()), Parsed::Bad(_)), "{bad:?}");
        }
    }

    #[test]
    fn answers_end_where_they_say() {
        let close = b"HTTP/1.1 200 OK\r\n\r\nabc";
        assert!(matches!(response(close, "GET", false), Parsed::Head(_)));
        assert!(matches!(response(close, "GET", true), Parsed::Whole(_, 22)));
        let short = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc";
        assert!(matches!(response(short, "GET", true), Parsed::Head(_)));
        assert!(matches!(
            response(short, "HEAD", true),
            Parsed::Whole(_, 38)
        ));
    }
}
