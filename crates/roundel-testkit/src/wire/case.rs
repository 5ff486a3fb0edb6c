//! What a case says.

use super::message::find;

/// What kind of rule a case stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// A MUST of an RFC, or safety that every proxy owes.
    Must,
    /// A SHOULD, or good practice.
    Should,
    /// A choice of this product; others may choose otherwise.
    Own,
}

/// An address of the proxy under test, by what stands behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// One server.
    One,
    /// Two servers.
    Pair,
    /// Two servers, one of which refuses connections.
    Dead,
    /// One server, which refuses connections.
    None,
    /// Two servers and a sticky cookie `SERVERID`.
    Sticky,
    /// One server; forwarding fields of the client are trusted.
    Trusted,
    /// One server and short timeouts: see `Topology::QUICK`.
    Quick,
}

impl Lane {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::One,
        Self::Pair,
        Self::Dead,
        Self::None,
        Self::Sticky,
        Self::Trusted,
        Self::Quick,
    ];

    /// A word for names in configurations.
    pub fn word(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Pair => "pair",
            Self::Dead => "dead",
            Self::None => "none",
            Self::Sticky => "sticky",
            Self::Trusted => "trusted",
            Self::Quick => "quick",
        }
    }
}

/// One step of the raw client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Sends bytes.
    Send(Vec<u8>),
    /// Sends bytes with `{}` replaced by this cookie's pair as the last answer that set it said.
    SendCookie(&'static str, Vec<u8>),
    /// Sends bytes and waits until the proxy has read them.
    Cut(Vec<u8>),
    /// Sends bytes one by one, this many milliseconds apart, until all are sent or an answer comes.
    Drip(Vec<u8>, u64),
    /// Reads one final answer with the interim ones before it.
    Answer,
    /// Reads until these bytes have come on this connection.
    Until(&'static str),
    /// Ends the sending side.
    HalfClose,
    /// Resets the connection.
    Reset,
    /// Reads to the end of the connection.
    End,
    /// Opens one more connection and goes on with it; the earlier ones stay open.
    Open,
    /// Tells the origin's script something.
    Signal(&'static str),
    /// Waits until the origin's script has told it.
    Await(&'static str),
    /// Waits until no origin connection of this case is open, idle ones included.
    OriginClosed,
}

/// One act of the origin's script for one request, which begins when the head has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Waits for the whole request.
    Body,
    /// Sends bytes.
    Send(Vec<u8>),
    /// Waits for an end or a reset from the proxy.
    Eof,
    /// Waits until these bytes of the request have come.
    Until(&'static str),
    /// Ends the sending side.
    HalfClose,
    /// Closes the connection.
    Close,
    /// Resets the connection.
    Reset,
    /// Tells the client's script something.
    Signal(&'static str),
    /// Waits until the client's script has told it.
    Await(&'static str),
    /// Sends this many bytes, or fewer if the proxy goes away.
    Flood(u64),
}

/// How the last client connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ends {
    /// Not judged.
    #[default]
    Any,
    /// Closed by the proxy.
    Closed,
    /// Kept: another request on it is answered.
    Kept,
}

/// One answer as it must be.
#[derive(Debug, Clone, Default)]
pub struct Want {
    /// Any of these; none given means that the answer may have any status.
    pub status: Vec<u16>,
    /// Fields that must be there, with a value if one is given; names in lower case.
    pub has: Vec<(&'static str, Option<&'static str>)>,
    /// Fields that must not be there.
    pub lacks: Vec<&'static str>,
    /// Words that no field of the answer may hold.
    pub free_of: Vec<&'static str>,
    /// The body.
    pub body: Option<Vec<u8>>,
    /// Trailers that must be there.
    pub trailers: Vec<(&'static str, &'static str)>,
    /// Statuses of the interim answers; `None`: not judged.
    pub interim: Option<Vec<u16>>,
    /// It must end before its framing says.
    pub broken: bool,
}

/// One request as an origin must see it.
#[derive(Debug, Clone, Default)]
pub struct Saw {
    /// Method and target, as in `GET /x`; empty: not judged.
    pub line: &'static str,
    /// The version.
    pub version: Option<&'static str>,
    /// Fields that must be there with one line of that value, or any if none is given.
    pub has: Vec<(&'static str, Option<&'static str>)>,
    /// Fields that must be there with one line that begins so.
    pub begins: Vec<(&'static str, &'static str)>,
    /// Fields that must not be there.
    pub lacks: Vec<&'static str>,
    /// Words that no value may hold.
    pub free_of: Vec<&'static str>,
    /// The body.
    pub body: Option<Vec<u8>>,
    /// Trailers that must be there.
    pub trailers: Vec<(&'static str, &'static str)>,
    /// Must not have come whole.
    pub partial: bool,
    /// `X-Forwarded-Proto` must say what the client speaks.
    pub proto: bool,
}

/// One right way for a case to go.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The final answers of all connections in order; `None`: not judged.
    pub answers: Option<Vec<Want>>,
    /// How the last connection ends.
    pub ends: Ends,
    /// The requests that origins saw; `None`: not judged. Incomplete ones count only if asked for.
    pub saw: Option<Vec<Saw>>,
    /// Each request went to another server.
    pub spread: Option<bool>,
    /// The proxy must give up its connection to the origin.
    pub cancelled: bool,
}

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// Unique and telling.
    pub name: String,
    /// The rule's place, as in `RFC 9112 6.3`.
    pub section: &'static str,
    /// What kind of rule it is.
    pub level: Level,
    /// Where the client connects.
    pub lane: Lane,
    /// What the client does.
    pub steps: Vec<Step>,
    /// Methods of the requests, for reading the answers; `GET` for what is not named.
    pub methods: Vec<&'static str>,
    /// What the origin does, request by request; then it echoes.
    pub script: Vec<Vec<Act>>,
    /// The right outcomes.
    pub outcomes: Vec<Outcome>,
    /// Why it makes no sense over TLS, if it does not.
    pub clear_only: Option<&'static str>,
    /// Why it makes no sense over HTTP/2, if what its peers say does not tell.
    pub http1_only: Option<&'static str>,
}

impl Case {
    /// Makes a case that must hold, on lane `One`, without steps.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            section: "",
            level: Level::Must,
            lane: Lane::One,
            steps: Vec::new(),
            methods: Vec::new(),
            script: Vec::new(),
            outcomes: vec![Outcome::default()],
            clear_only: None,
            http1_only: None,
        }
    }

    /// Names the rule's place.
    pub fn section(mut self, section: &'static str) -> Self {
        self.section = section;
        self
    }

    /// Makes it a SHOULD.
    pub fn should(mut self) -> Self {
        self.level = Level::Should;
        self
    }

    /// Makes it this product's own choice.
    pub fn own(mut self) -> Self {
        self.level = Level::Own;
        self
    }

    /// Has it played in clear only, and says why.
    pub fn clear_only(mut self, why: &'static str) -> Self {
        self.clear_only = Some(why);
        self
    }

    /// Has it played over HTTP/1 only, and says why.
    pub fn http1_only(mut self, why: &'static str) -> Self {
        self.http1_only = Some(why);
        self
    }

    /// Chooses the lane.
    pub fn lane(mut self, lane: Lane) -> Self {
        self.lane = lane;
        self
    }

    /// The client sends bytes; the first word tells how to read the answer.
    pub fn send(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.steps.push(Step::Send(bytes.as_ref().to_vec()));
        self
    }

    /// The client goes on with these steps.
    pub fn steps(mut self, steps: impl IntoIterator<Item = Step>) -> Self {
        self.steps.extend(steps);
        self
    }

    /// Names the methods of all requests.
    pub fn methods(mut self, methods: impl IntoIterator<Item = &'static str>) -> Self {
        self.methods = methods.into_iter().collect();
        self
    }

    /// The origin answers the next request by these acts.
    pub fn acts(mut self, acts: impl IntoIterator<Item = Act>) -> Self {
        self.script.push(acts.into_iter().collect());
        self
    }

    /// The origin answers the next request, once it is whole, with these bytes.
    pub fn reply(self, bytes: impl AsRef<[u8]>) -> Self {
        self.acts([Act::Body, Act::Send(bytes.as_ref().to_vec())])
    }

    /// As [`Self::reply`], and closes.
    pub fn reply_close(self, bytes: impl AsRef<[u8]>) -> Self {
        self.acts([Act::Body, Act::Send(bytes.as_ref().to_vec()), Act::Close])
    }

    /// Whether the client sends as much as a head on its first connection.
    pub(super) fn has_a_head(&self) -> bool {
        let mut sent = Vec::new();
        for step in &self.steps {
            match step {
                Step::Send(bytes)
                | Step::SendCookie(_, bytes)
                | Step::Cut(bytes)
                | Step::Drip(bytes, _) => sent.extend_from_slice(bytes),
                Step::Open => break,
                _ => {}
            }
        }
        find(&sent, b"\r\n\r\n").is_some()
    }

    fn outcome(&mut self) -> &mut Outcome {
        self.outcomes.last_mut().expect("a case has an outcome")
    }

    /// Begins another right outcome.
    pub fn or(mut self) -> Self {
        self.outcomes.push(Outcome::default());
        self
    }

    /// The next answer has one of these statuses.
    pub fn status(self, status: &[u16]) -> Self {
        self.want(Want {
            status: status.to_vec(),
            ..Want::default()
        })
    }

    /// The next answer is like this.
    pub fn want(mut self, want: Want) -> Self {
        self.outcome().answers.get_or_insert_default().push(want);
        self
    }

    /// There is no answer at all.
    pub fn no_answer(mut self) -> Self {
        self.outcome().answers = Some(Vec::new());
        self
    }

    /// The connection is closed afterwards.
    pub fn closed(mut self) -> Self {
        self.outcome().ends = Ends::Closed;
        self
    }

    /// The connection is kept afterwards.
    pub fn kept(mut self) -> Self {
        self.outcome().ends = Ends::Kept;
        self
    }

    /// The next request seen is like this.
    pub fn saw(mut self, saw: Saw) -> Self {
        self.outcome().saw.get_or_insert_default().push(saw);
        self
    }

    /// No origin sees a whole request.
    pub fn saw_nothing(mut self) -> Self {
        self.outcome().saw = Some(Vec::new());
        self
    }

    /// One answer of these statuses, then the connection is closed and no origin saw a request.
    pub fn refused(self, status: &[u16]) -> Self {
        self.status(status).closed().saw_nothing()
    }

    /// The requests went to different servers, or all to one.
    pub fn spread(mut self, spread: bool) -> Self {
        self.outcome().spread = Some(spread);
        self
    }

    /// The proxy gives up its connection to the origin.
    pub fn cancelled(mut self) -> Self {
        self.outcome().cancelled = true;
        self
    }
}

impl Want {
    /// An answer of this status.
    pub fn status(status: u16) -> Self {
        Self {
            status: vec![status],
            ..Self::default()
        }
    }

    /// With this body.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Some(body.as_ref().to_vec());
        self
    }

    /// With this field.
    pub fn has(mut self, name: &'static str, value: &'static str) -> Self {
        self.has.push((name, Some(value)));
        self
    }

    /// With this field of whatever value.
    pub fn any(mut self, name: &'static str) -> Self {
        self.has.push((name, None));
        self
    }

    /// Without this field.
    pub fn lacks(mut self, name: &'static str) -> Self {
        self.lacks.push(name);
        self
    }

    /// Without this word in any value or in the body.
    pub fn free_of(mut self, word: &'static str) -> Self {
        self.free_of.push(word);
        self
    }

    /// With this trailer.
    pub fn trailer(mut self, name: &'static str, value: &'static str) -> Self {
        self.trailers.push((name, value));
        self
    }

    /// With these interim answers before it.
    pub fn interim(mut self, interim: &[u16]) -> Self {
        self.interim = Some(interim.to_vec());
        self
    }

    /// It breaks off.
    pub fn broken(mut self) -> Self {
        self.broken = true;
        self
    }
}

impl Saw {
    /// A request with this method and target.
    pub fn line(line: &'static str) -> Self {
        Self {
            line,
            ..Self::default()
        }
    }

    /// Of this version.
    pub fn version(mut self, version: &'static str) -> Self {
        self.version = Some(version);
        self
    }

    /// With one line of this field and value.
    pub fn has(mut self, name: &'static str, value: &'static str) -> Self {
        self.has.push((name, Some(value)));
        self
    }

    /// With `X-Forwarded-Proto` that says what the client speaks: `http`, or `https` over TLS.
    pub fn proto(mut self) -> Self {
        self.proto = true;
        self
    }

    /// With this field of whatever value.
    pub fn any(mut self, name: &'static str) -> Self {
        self.has.push((name, None));
        self
    }

    /// With one line of this field whose value begins so.
    pub fn begins(mut self, name: &'static str, start: &'static str) -> Self {
        self.begins.push((name, start));
        self
    }

    /// Without this field.
    pub fn lacks(mut self, name: &'static str) -> Self {
        self.lacks.push(name);
        self
    }

    /// Without this word in any value.
    pub fn free_of(mut self, word: &'static str) -> Self {
        self.free_of.push(word);
        self
    }

    /// With this body.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Some(body.as_ref().to_vec());
        self
    }

    /// With this trailer.
    pub fn trailer(mut self, name: &'static str, value: &'static str) -> Self {
        self.trailers.push((name, value));
        self
    }

    /// Incomplete: its head came, its end did not.
    pub fn partial(mut self) -> Self {
        self.partial = true;
        self
    }
}
