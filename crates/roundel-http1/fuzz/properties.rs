//! What must hold for any bytes: shared by the fuzz targets, the corpus replay and the property tests.

use roundel_http1::{
    Block, ChunkDecoder, Decoded, Edits, Framing, Known, Limits, Method, Persist, Progress, Reason,
    RequestHead, RequestPlan, ResponseHead, ResponsePlan, chunk, cookie as cookies, path as paths,
    proxy_protocol, write_request, write_response,
};

/// What became of some input: how much of it was used and what was found, or why it was refused.
type Verdict<T> = Result<Option<(usize, T)>, Reason>;

/// The limits of the checks: small, so that short inputs reach them.
pub(crate) fn limits() -> Limits {
    Limits {
        head: 2048,
        target: 256,
        fields: 40,
        extensions: 64,
        trailers: 256,
        refuse_host_mismatch: false,
        ..Limits::default()
    }
}

/// The normal form of a path is its own, has no segment of dots and nothing that a URI cannot have; and a path that
/// all servers read alike differs from it in escapes only.
pub(crate) fn path(data: &[u8]) {
    let normal = paths::normal(data);
    assert_eq!(paths::normal(&normal), normal);
    if data.first() != Some(&b'/') {
        return;
    }
    let mut segments = normal.split(|byte| *byte == b'/');
    assert!(segments.all(|segment| !matches!(segment, b"." | b"..")));
    assert!(normal.iter().all(|byte| matches!(byte, b'!'..=b'~')));
    if paths::ambiguity(data).is_none() {
        assert_eq!(*paths::escapes_normal(data), *normal);
    }
}

/// Everything a request head says, for comparing.
#[derive(Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) method: Vec<u8>,
    pub(crate) path: Vec<u8>,
    pub(crate) host: Option<Vec<u8>>,
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
    pub(crate) fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Everything the head of an answer says, for comparing.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) phrase: Vec<u8>,
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
    pub(crate) length: Option<u64>,
    pub(crate) fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Feeds `data` in pieces that end at `cuts` (ascending) and parses a request behind each.
pub(crate) fn parse_request(
    head: &mut RequestHead,
    data: &[u8],
    cuts: &[usize],
    limits: &Limits,
) -> Verdict<Request> {
    let mut from = 0;
    for &to in cuts.iter().chain([&data.len()]) {
        head.block.put(&data[from..to]);
        from = to;
        match head.parse(limits) {
            Err(refusal) => return Err(refusal.reason),
            Ok(Progress::Partial) => {}
            Ok(Progress::Complete) => return Ok(Some((from - head.block.len(), request_of(head)))),
        }
    }
    Ok(None)
}

fn request_of(head: &RequestHead) -> Request {
    let path = head.path_and_query();
    let path = match path.first() {
        None if head.method() == Method::Options => b"*".to_vec(),
        None if head.method() == Method::Connect => head.target().to_vec(),
        None | Some(b'?') => [b"/", path].concat(),
        Some(_) => path.to_vec(),
    };
    Request {
        method: head.method_name().to_vec(),
        path,
        host: head.host().map(<[u8]>::to_vec),
        framing: head.framing(),
        keep_alive: head.keep_alive(),
        fields: head
            .fields()
            .iter()
            .map(|line| (line.name.to_vec(), line.value.to_vec()))
            .collect(),
    }
}

/// Feeds `data` in pieces that end at `cuts` (ascending) and parses an answer behind each.
pub(crate) fn parse_answer(
    head: &mut ResponseHead,
    data: &[u8],
    cuts: &[usize],
    limits: &Limits,
    method: Method,
) -> Verdict<Answer> {
    let mut from = 0;
    for &to in cuts.iter().chain([&data.len()]) {
        head.block.put(&data[from..to]);
        from = to;
        match head.parse(limits, method) {
            Err(fault) => return Err(fault.reason),
            Ok(Progress::Partial) => {}
            Ok(Progress::Complete) => return Ok(Some((from - head.block.len(), answer_of(head)))),
        }
    }
    Ok(None)
}

fn answer_of(head: &ResponseHead) -> Answer {
    Answer {
        status: head.status(),
        phrase: head.phrase().to_vec(),
        framing: head.framing(),
        keep_alive: head.keep_alive(),
        length: head.content_length(),
        fields: head
            .fields()
            .iter()
            .map(|line| (line.name.to_vec(), line.value.to_vec()))
            .collect(),
    }
}

/// Returns a cut behind every byte.
pub(crate) fn drip(data: &[u8]) -> Vec<usize> {
    (1..data.len()).collect()
}

/// Derives cuts from the data itself, so that a fuzzer can move them.
fn odd_cuts(data: &[u8]) -> Vec<usize> {
    let mut at = 0;
    let mut cuts = Vec::new();
    for byte in data {
        at += 1 + usize::from(byte % 23);
        if at >= data.len() {
            break;
        }
        cuts.push(at);
    }
    cuts
}

/// A request: any cut gives the same verdict; what is written is read back as the same request.
pub(crate) fn request(data: &[u8]) {
    let limits = limits();
    let mut head = RequestHead::new();
    let whole = parse_request(&mut head, data, &[], &limits);
    for cuts in [drip(data), odd_cuts(data)] {
        let mut other = RequestHead::new();
        assert_eq!(
            parse_request(&mut other, data, &cuts, &limits),
            whole,
            "cut at {cuts:?}"
        );
    }
    if let Ok(Some((_, request))) = &whole {
        check_written_request(&head, request);
    }
}

fn check_written_request(head: &RequestHead, request: &Request) {
    let mut edits = Edits::new();
    edits.append(b"X-Test", b"1");
    let mut out = Block::new();
    let framing = write_request(head, &RequestPlan::new(head), &edits, &mut out);
    let written = out.filled().to_vec();

    let mut again = RequestHead::new();
    let (used, read) = parse_request(&mut again, &written, &[], &Limits::default())
        .expect("what is written is acceptable")
        .expect("what is written is whole");
    assert_eq!(used, written.len());
    assert_eq!((&read.method, &read.path), (&request.method, &request.path));
    assert_eq!(
        read.host.unwrap_or_default(),
        request.host.clone().unwrap_or_default()
    );
    assert_eq!(read.framing, framing);
    assert_eq!(framing, request.framing);
    let mut expected = end_to_end(&request.fields);
    expected.retain(|(name, _)| Known::of(name) != Known::Host);
    expected.push((b"X-Test".to_vec(), b"1".to_vec()));
    let mut found = end_to_end(&read.fields);
    found.retain(|(name, _)| Known::of(name) != Known::Host);
    assert_eq!(found, expected);

    let mut room = [httparse::EMPTY_HEADER; 64];
    let mut lax = httparse::Request::new(&mut room);
    assert_eq!(
        lax.parse(&written),
        Ok(httparse::Status::Complete(written.len()))
    );
    assert_eq!(lax.path.map(str::as_bytes), Some(&read.path[..]));
    assert_eq!(lax_fields(lax.headers), read.fields);
}

fn end_to_end(fields: &[(Vec<u8>, Vec<u8>)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    fields
        .iter()
        .filter(|(name, _)| !Known::of(name).is_hop_by_hop())
        .cloned()
        .collect()
}

fn lax_fields(headers: &[httparse::Header<'_>]) -> Vec<(Vec<u8>, Vec<u8>)> {
    headers
        .iter()
        .map(|header| (header.name.as_bytes().to_vec(), header.value.to_vec()))
        .collect()
}

/// An answer: any cut gives the same verdict; what is written is read back as the same answer.
pub(crate) fn answer(data: &[u8]) {
    let limits = limits();
    for method in [Method::Get, Method::Head] {
        let mut head = ResponseHead::new();
        let whole = parse_answer(&mut head, data, &[], &limits, method);
        for cuts in [drip(data), odd_cuts(data)] {
            let mut other = ResponseHead::new();
            assert_eq!(
                parse_answer(&mut other, data, &cuts, &limits, method),
                whole,
                "cut at {cuts:?}"
            );
        }
        if let Ok(Some((_, answer))) = &whole {
            check_written_answer(&head, answer, method);
        }
    }
}

fn check_written_answer(head: &ResponseHead, answer: &Answer, method: Method) {
    let plan = ResponsePlan {
        framing: head.framing(),
        persist: Persist::Silent,
    };
    let mut out = Block::new();
    let framing = write_response(head, &plan, &Edits::new(), &mut out);
    let written = out.filled().to_vec();

    let mut again = ResponseHead::new();
    let (used, read) = parse_answer(&mut again, &written, &[], &Limits::default(), method)
        .expect("what is written is acceptable")
        .expect("what is written is whole");
    assert_eq!(used, written.len());
    assert_eq!(read.status, answer.status);
    assert!(answer.phrase.is_empty() || read.phrase == answer.phrase);
    assert_eq!(read.framing, framing);
    assert_eq!(framing, answer.framing);
    assert_eq!(end_to_end(&read.fields), end_to_end(&answer.fields));
    let forbids_length = answer.status < 200 || answer.status == 204;
    assert_eq!(read.length, answer.length.filter(|_| !forbids_length));

    let mut room = [httparse::EMPTY_HEADER; 64];
    let mut lax = httparse::Response::new(&mut room);
    assert_eq!(
        lax.parse(&written),
        Ok(httparse::Status::Complete(written.len()))
    );
    assert_eq!(lax.code, Some(read.status));
    assert_eq!(lax_fields(lax.headers), read.fields);
}

/// What a chunked body came to: data, then bytes used and trailers, nothing yet, or a refusal.
type Body = (Vec<u8>, Verdict<Vec<(Vec<u8>, Vec<u8>)>>);

/// Decodes a chunked body fed in pieces that end at `cuts` (ascending).
pub(crate) fn decode(data: &[u8], cuts: &[usize], limits: &Limits) -> Body {
    let mut decoder = ChunkDecoder::new(limits);
    let mut block = Block::new();
    let mut body = Vec::new();
    let mut from = 0;
    for &to in cuts.iter().chain([&data.len()]) {
        block.put(&data[from..to]);
        from = to;
        loop {
            match decoder.decode(block.filled()) {
                Err(reason) => return (body, Err(reason)),
                Ok(Decoded::More { skip }) => {
                    block.consume(skip);
                    break;
                }
                Ok(Decoded::Data { skip, len }) => {
                    block.consume(skip);
                    body.extend_from_slice(&block.filled()[..len]);
                    block.consume(len);
                    decoder.took(len);
                }
                Ok(Decoded::End { skip }) => {
                    block.consume(skip);
                    assert!(decoder.is_done());
                    return (body, Ok(Some((from - block.len(), trailers_of(&decoder)))));
                }
            }
        }
    }
    (body, Ok(None))
}

fn trailers_of(decoder: &ChunkDecoder) -> Vec<(Vec<u8>, Vec<u8>)> {
    let lines = decoder
        .trailers()
        .into_iter()
        .flat_map(|trailers| trailers.fields().iter());
    lines
        .map(|line| (line.name.to_vec(), line.value.to_vec()))
        .collect()
}

/// A chunked body: any cut gives the same data and verdict; what is encoded is decoded as the same.
pub(crate) fn chunks(data: &[u8]) {
    let limits = limits();
    let whole = decode(data, &[], &limits);
    for cuts in [drip(data), odd_cuts(data)] {
        assert_eq!(decode(data, &cuts, &limits), whole, "cut at {cuts:?}");
    }
    let (body, end) = whole;
    let mut out = Block::new();
    let (first, second) = body.split_at(body.len() / 2);
    chunk::put_data(first, &mut out);
    chunk::put_data(second, &mut out);
    chunk::put_end(None, &mut out);
    assert_eq!(
        decode(out.filled(), &[], &limits),
        (body, Ok(Some((out.len(), Vec::new()))))
    );
    if let Ok(Some((_, trailers))) = end {
        assert!(
            trailers
                .iter()
                .all(|(name, _)| !Known::of(name).is_hop_by_hop())
        );
    }
}

/// A PROXY protocol header: once there is a verdict, more bytes do not change it; what is
/// written again in either version says the same.
pub(crate) fn proxy_protocol(data: &[u8]) {
    let mut verdict = Ok(None);
    for n in 0..=data.len().min(proxy_protocol::MAX_LENGTH + 1) {
        let now = proxy_protocol::parse(&data[..n]);
        if verdict != Ok(None) {
            assert_eq!(now, verdict, "changed by byte {n}");
        }
        verdict = now;
    }
    let Ok(Some((header, length))) = verdict else {
        return;
    };
    assert!(length <= data.len() && length <= proxy_protocol::MAX_LENGTH);
    for version in [proxy_protocol::Version::V1, proxy_protocol::Version::V2] {
        let mut out = Vec::new();
        proxy_protocol::write(version, header.addresses, None, &mut out);
        let again = proxy_protocol::parse(&out);
        let expected = proxy_protocol::Header {
            tls: false,
            ..header
        };
        assert_eq!(again, Ok(Some((expected, out.len()))));
    }
}

/// A Cookie value: taking a name out leaves every other pair as it was, in order, and no piece of
/// what was taken; what is left may stand in a field if the value might.
pub(crate) fn cookie(data: &[u8]) {
    let of = |value: &[u8]| -> Vec<(Vec<u8>, Vec<u8>)> {
        let pairs = cookies::pairs(value);
        pairs.map(|(n, v)| (n.to_vec(), v.to_vec())).collect()
    };
    let all = of(data);
    let first = all.first().map(|(name, _)| name.clone());
    let names = [b"SERVERID".to_vec(), b"S".to_vec(), Vec::new()];
    for name in names.into_iter().chain(first) {
        let mut left = b"before".to_vec();
        let mut seen = Vec::new();
        let removed = cookies::remove(data, &name, &mut left, |value| seen.push(value.to_vec()));
        let left = left.strip_prefix(b"before").expect("what was there stays");
        let kept: Vec<_> = all.iter().filter(|(n, _)| *n != name).cloned().collect();
        assert_eq!(removed, all.len() - kept.len());
        let taken = all.iter().filter(|(n, _)| *n == name).map(|(_, v)| v);
        assert!(seen.iter().eq(taken));
        if removed == 0 {
            assert!(left.is_empty());
            continue;
        }
        assert_eq!(of(left), kept);
        assert_eq!(cookies::remove(left, &name, &mut Vec::new(), |_| {}), 0);
        assert_eq!(left.trim_ascii(), left);
        assert!(left.len() <= data.len() + all.len());
        assert!(left.iter().all(|byte| *byte == b' ' || data.contains(byte)));
    }
    let name = cookies::set_cookie_name(data);
    assert!(!name.contains(&b';') && !name.contains(&b'='));
    assert_eq!(name.trim_ascii(), name);
}
