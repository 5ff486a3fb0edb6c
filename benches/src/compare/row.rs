//! The rows that every peer goes through, and what Roundel has to reach in them.

use serde::Serialize;

use crate::origin::MESSAGE;

/// What must be reached and what is aimed at; smaller is better unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Bound {
    pub(crate) must: Option<f64>,
    pub(crate) goal: f64,
}

/// One kind of work.
pub(crate) struct Row {
    /// Its name on the command line.
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    pub(crate) work: Work,
    /// Of the ratio of CPU time to Debian's HAProxy.
    pub(crate) bound: Option<Bound>,
    /// Of the ratio to nginx.
    pub(crate) nginx_goal: Option<f64>,
    /// Of the ratio to a relay that looks at no byte.
    pub(crate) relay_bound: Option<Bound>,
    /// How many times longer than the others a sample takes.
    pub(crate) stretch: u32,
}

/// What the load generator does in a row.
#[derive(Clone, Copy)]
pub(crate) struct Work {
    pub(crate) path: &'static str,
    /// Bytes of each answer's body.
    pub(crate) expect: u64,
    pub(crate) connections: u32,
    pub(crate) sticky: bool,
    /// What a browser sends, with a cookie jar.
    pub(crate) browser: bool,
    /// A connection per request.
    pub(crate) close: bool,
    /// Bytes of the request's body.
    pub(crate) post: Option<u32>,
    /// Requests per second of an open loop; closed without it.
    pub(crate) rate: Option<u32>,
    /// Over TLS 1.3: TLS_AES_128_GCM_SHA256, a certificate with an ECDSA key on P-256. Each client's
    /// first request is not counted.
    pub(crate) tls: Option<Handshake>,
    /// Over HTTP/2, by `h2load`: streams of each connection at once. The handshakes are counted.
    pub(crate) streams: Option<u32>,
    /// Unary calls of gRPC to servers of HTTP/2, with a message of 32 bytes each way; with `streams`.
    pub(crate) grpc: bool,
}

/// The handshake of every connection but a client's first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handshake {
    /// A full one with X25519.
    Full,
    /// One that resumes a session, with X25519.
    Resumed,
    /// A full one with X25519MLKEM768.
    Hybrid,
}

impl Work {
    /// 64 connections that ask for 128 bytes again and again.
    pub(crate) const SMALL: Self = Self {
        path: "/128",
        expect: 128,
        connections: 64,
        sticky: false,
        browser: false,
        close: false,
        post: None,
        rate: None,
        tls: None,
        streams: None,
        grpc: false,
    };
}

const fn row(key: &'static str, title: &'static str, work: Work) -> Row {
    Row {
        key,
        title,
        work,
        bound: None,
        nginx_goal: None,
        relay_bound: None,
        stretch: 1,
    }
}

impl Row {
    const fn bound(self, must: f64, goal: f64) -> Self {
        let must = Some(must);
        Self {
            bound: Some(Bound { must, goal }),
            ..self
        }
    }

    const fn nginx(self, goal: f64) -> Self {
        Self {
            nginx_goal: Some(goal),
            ..self
        }
    }

    const fn relay(self, must: f64, goal: f64) -> Self {
        let must = Some(must);
        Self {
            relay_bound: Some(Bound { must, goal }),
            ..self
        }
    }

    const fn stretched(self, stretch: u32) -> Self {
        Self { stretch, ..self }
    }
}

/// Every row, in the order of the table.
pub(crate) const ALL: [Row; 22] = [
    row("get", "128 B keep-alive", Work::SMALL)
        .bound(0.90, 0.80)
        .nginx(0.75)
        .relay(1.12, 1.08),
    row("get-8", "128 B keep-alive, 8 connections", with(8)).relay(1.10, 1.08),
    row("get-256", "128 B keep-alive, 256 connections", with(256)).relay(1.20, 1.12),
    row(
        "browser",
        "browser headers and sticky cookie",
        Work {
            sticky: true,
            browser: true,
            ..Work::SMALL
        },
    )
    .bound(0.92, 0.80),
    row(
        "sticky",
        "sticky cookie, small request",
        Work {
            sticky: true,
            ..Work::SMALL
        },
    )
    .bound(0.80, 0.67),
    row(
        "10k",
        "10 KB answer",
        Work {
            path: "/10k",
            expect: 10 << 10,
            ..Work::SMALL
        },
    )
    .bound(0.86, 0.75)
    .nginx(0.75),
    row(
        "post",
        "10 KB POST",
        Work {
            post: Some(10 << 10),
            ..Work::SMALL
        },
    )
    .bound(0.83, 0.72)
    .nginx(0.60),
    row(
        "close",
        "a connection per request",
        Work {
            close: true,
            ..Work::SMALL
        },
    )
    .bound(0.96, 0.85)
    .nginx(0.92),
    row(
        "1m",
        "1 MB answer, 16 streams",
        Work {
            path: "/1m",
            expect: 1 << 20,
            connections: 16,
            ..Work::SMALL
        },
    )
    .bound(0.75, 0.30)
    .nginx(0.40)
    .stretched(2),
    row("5k", "5,000 requests/s, open loop", at(5_000)),
    row("20k", "20,000 requests/s, open loop", at(20_000)).stretched(2),
    row("tls", "128 B keep-alive over TLS 1.3", SECURE).bound(0.70, 0.62),
    row(
        "tls-full",
        "full handshake, ECDSA P-256, X25519",
        handshakes(Handshake::Full),
    )
    .bound(0.65, 0.56),
    row(
        "tls-resumed",
        "resumed handshake",
        handshakes(Handshake::Resumed),
    )
    .bound(0.80, 0.70),
    row(
        "tls-1m",
        "1 MB answer over TLS 1.3, 16 streams",
        Work {
            path: "/1m",
            expect: 1 << 20,
            connections: 16,
            ..SECURE
        },
    )
    .bound(0.80, 0.70)
    .stretched(2),
    row("h2-128", "128 B over HTTP/2, 16 × 16 streams", STREAMS).bound(0.85, 0.75),
    row(
        "h2-1",
        "128 B over HTTP/2, one stream each",
        Work {
            streams: Some(1),
            ..STREAMS
        },
    )
    .bound(0.88, 0.80),
    row(
        "h2-10k",
        "10 KB answer over HTTP/2, 16 × 16 streams",
        Work {
            path: "/10k",
            expect: 10 << 10,
            ..STREAMS
        },
    )
    .bound(0.90, 0.75),
    row(
        "h2-1m",
        "1 MB answer over HTTP/2, 4 × 4 streams",
        Work {
            path: "/1m",
            expect: 1 << 20,
            connections: 4,
            streams: Some(4),
            ..STREAMS
        },
    )
    .bound(0.85, 0.60)
    .stretched(2),
    row(
        "h2-post",
        "10 KB POST over HTTP/2, 16 × 16 streams",
        Work {
            post: Some(10 << 10),
            ..STREAMS
        },
    )
    .bound(0.72, 0.65),
    row(
        "h2-tls",
        "128 B over HTTP/2 and TLS 1.3, 16 × 16 streams",
        Work {
            tls: Some(Handshake::Full),
            ..STREAMS
        },
    )
    .bound(0.80, 0.65)
    .stretched(2),
    row(
        "grpc",
        "unary gRPC, HTTP/2 on both sides, 16 × 16 streams",
        Work {
            path: "/bench.Echo/Unary",
            expect: MESSAGE.len() as u64,
            grpc: true,
            ..STREAMS
        },
    )
    .bound(0.85, 0.75),
];

/// 16 connections over HTTP/2, each with 16 requests for 128 bytes at once.
const STREAMS: Work = Work {
    connections: 16,
    streams: Some(16),
    ..Work::SMALL
};

const fn with(connections: u32) -> Work {
    Work {
        connections,
        ..Work::SMALL
    }
}

const SECURE: Work = Work {
    tls: Some(Handshake::Full),
    ..Work::SMALL
};

/// A connection per request, each with such a handshake.
pub(super) const fn handshakes(kind: Handshake) -> Work {
    Work {
        close: true,
        connections: 16,
        tls: Some(kind),
        ..Work::SMALL
    }
}

const fn at(rate: u32) -> Work {
    Work {
        rate: Some(rate),
        ..Work::SMALL
    }
}

/// A browser's header lines; the Cookie line comes on top.
pub(crate) const BROWSER: [&str; 14] = [
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: fr-CH,fr;q=0.8,en-US;q=0.5,en;q=0.3",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "DNT: 1",
    "Sec-GPC: 1",
    "Upgrade-Insecure-Requests: 1",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-User: ?1",
    "Priority: u=0, i",
    "Referer: http://www.example.org/shop/items?page=2",
    "Cache-Control: max-age=0",
];
