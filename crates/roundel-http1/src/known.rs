//! The fields that a proxy acts on, recognised once while parsing.

macro_rules! known {
    ($($name:ident = $text:literal),* $(,)?) => {
        /// Names a field that a proxy acts on; everything else is `Other`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[allow(missing_docs)]
        #[repr(u8)]
        pub enum Known { $($name,)* #[default] Other }

        impl Known {
            /// Lists the recognised fields with their usual spelling.
            pub const TABLE: &'static [(Self, &'static str)] = &[$((Self::$name, $text),)*];

            /// Returns the usual spelling, empty for `Other`.
            #[inline]
            pub fn as_str(self) -> &'static str {
                Self::TABLE.get(self as usize).map_or("", |(_, text)| text)
            }
        }
    };
}

known! {
    Host = "Host",
    Connection = "Connection",
    ContentLength = "Content-Length",
    TransferEncoding = "Transfer-Encoding",
    Te = "TE",
    Trailer = "Trailer",
    Upgrade = "Upgrade",
    Expect = "Expect",
    KeepAlive = "Keep-Alive",
    ProxyConnection = "Proxy-Connection",
    Via = "Via",
    Forwarded = "Forwarded",
    XForwardedFor = "X-Forwarded-For",
    XForwardedProto = "X-Forwarded-Proto",
    XForwardedHost = "X-Forwarded-Host",
    XForwardedPort = "X-Forwarded-Port",
    XRealIp = "X-Real-IP",
    XRequestId = "X-Request-ID",
    Cookie = "Cookie",
    SetCookie = "Set-Cookie",
    CacheControl = "Cache-Control",
    Date = "Date",
    MaxForwards = "Max-Forwards",
    Authorization = "Authorization",
    ProxyAuthorization = "Proxy-Authorization",
    WwwAuthenticate = "WWW-Authenticate",
    ProxyAuthenticate = "Proxy-Authenticate",
    ContentType = "Content-Type",
    ContentEncoding = "Content-Encoding",
    ContentRange = "Content-Range",
    Range = "Range",
    Location = "Location",
    RetryAfter = "Retry-After",
    Server = "Server",
    UserAgent = "User-Agent",
    Referer = "Referer",
    Accept = "Accept",
    AcceptEncoding = "Accept-Encoding",
    Traceparent = "traceparent",
    Tracestate = "tracestate",
    EarlyData = "Early-Data",
    SecWebSocketKey = "Sec-WebSocket-Key",
    SecWebSocketAccept = "Sec-WebSocket-Accept",
}

impl Known {
    /// Recognises a field by its name, in any case.
    #[inline]
    pub fn of(name: &[u8]) -> Self {
        let Some(&first) = name.first() else {
            return Self::Other;
        };
        // Each arm names one constant, so that its comparison is a few words against constants.
        match (name.len(), first | 0x20) {
            (2, b't') => Self::Te.confirmed(name),
            (3, b'v') => Self::Via.confirmed(name),
            (4, b'h') => Self::Host.confirmed(name),
            (4, b'd') => Self::Date.confirmed(name),
            (5, b'r') => Self::Range.confirmed(name),
            (6, b'e') => Self::Expect.confirmed(name),
            (6, b'c') => Self::Cookie.confirmed(name),
            (6, b's') => Self::Server.confirmed(name),
            (6, b'a') => Self::Accept.confirmed(name),
            (7, b't') => Self::Trailer.confirmed(name),
            (7, b'u') => Self::Upgrade.confirmed(name),
            (7, b'r') => Self::Referer.confirmed(name),
            (8, b'l') => Self::Location.confirmed(name),
            (9, b'f') => Self::Forwarded.confirmed(name),
            (9, b'x') => Self::XRealIp.confirmed(name),
            (10, b'c') => Self::Connection.confirmed(name),
            (10, b'k') => Self::KeepAlive.confirmed(name),
            (10, b's') => Self::SetCookie.confirmed(name),
            (10, b'u') => Self::UserAgent.confirmed(name),
            (10, b't') => Self::Tracestate.confirmed(name),
            (10, b'e') => Self::EarlyData.confirmed(name),
            (11, b'r') => Self::RetryAfter.confirmed(name),
            (11, b't') => Self::Traceparent.confirmed(name),
            (12, b'm') => Self::MaxForwards.confirmed(name),
            (12, b'x') => Self::XRequestId.confirmed(name),
            (12, b'c') => Self::ContentType.confirmed(name),
            (13, b'c') => Self::either(name, Self::CacheControl, Self::ContentRange),
            (13, b'a') => Self::Authorization.confirmed(name),
            (14, b'c') => Self::ContentLength.confirmed(name),
            (15, b'x') => Self::XForwardedFor.confirmed(name),
            (15, b'a') => Self::AcceptEncoding.confirmed(name),
            (16, b'x') => Self::either(name, Self::XForwardedHost, Self::XForwardedPort),
            (16, b'p') => Self::ProxyConnection.confirmed(name),
            (16, b'c') => Self::ContentEncoding.confirmed(name),
            (16, b'w') => Self::WwwAuthenticate.confirmed(name),
            (17, b't') => Self::TransferEncoding.confirmed(name),
            (17, b'x') => Self::XForwardedProto.confirmed(name),
            (17, b's') => Self::SecWebSocketKey.confirmed(name),
            (18, b'p') => Self::ProxyAuthenticate.confirmed(name),
            (19, b'p') => Self::ProxyAuthorization.confirmed(name),
            (20, b's') => Self::SecWebSocketAccept.confirmed(name),
            _ => Self::Other,
        }
    }

    #[inline(always)]
    fn either(name: &[u8], one: Self, other: Self) -> Self {
        match one.confirmed(name) {
            Self::Other => other.confirmed(name),
            found => found,
        }
    }

    #[inline(always)]
    fn confirmed(self, name: &[u8]) -> Self {
        let text = self.as_str().as_bytes();
        if name.len() == text.len() && is_same(name, text) {
            self
        } else {
            Self::Other
        }
    }

    /// Returns this field's bit in a set of fields.
    #[inline]
    pub(crate) const fn bit(self) -> u64 {
        1 << (self as u8)
    }

    /// Says whether the field concerns one connection or one message's framing: the writers always
    /// drop it and write their own (RFC 9110, 7.6.1; RFC 9112, 6).
    #[inline]
    pub const fn is_hop_by_hop(self) -> bool {
        const SET: u64 = Known::Connection.bit()
            | Known::KeepAlive.bit()
            | Known::ProxyConnection.bit()
            | Known::Te.bit()
            | Known::TransferEncoding.bit()
            | Known::ContentLength.bit()
            | Known::Upgrade.bit();
        SET & self.bit() != 0
    }

    /// Says whether a Connection option of this name is ignored: removing such a field would
    /// change whom, what or whose the message is, which is a known attack.
    ///
    /// Everything else that Connection names goes, as RFC 9110, 7.6.1 demands.
    pub(crate) const fn is_protected(self) -> bool {
        const SET: u64 = Known::Host.bit()
            | Known::ContentLength.bit()
            | Known::TransferEncoding.bit()
            | Known::Cookie.bit()
            | Known::SetCookie.bit()
            | Known::Forwarded.bit()
            | Known::XForwardedFor.bit()
            | Known::XForwardedProto.bit()
            | Known::XForwardedHost.bit()
            | Known::XForwardedPort.bit()
            | Known::XRealIp.bit()
            | Known::XRequestId.bit()
            | Known::Via.bit();
        SET & self.bit() != 0
    }

    /// Says whether the field must not stand in a trailer section (RFC 9110, 6.5.1): framing,
    /// routing, authentication, request modifiers, response controls, content format.
    pub(crate) const fn is_barred_from_trailers(self) -> bool {
        const SET: u64 = Known::Expect.bit()
            | Known::Authorization.bit()
            | Known::ContentType.bit()
            | Known::ContentEncoding.bit()
            | Known::ContentRange.bit()
            | Known::Trailer.bit()
            | Known::ProxyAuthorization.bit()
            | Known::WwwAuthenticate.bit()
            | Known::ProxyAuthenticate.bit()
            | Known::CacheControl.bit()
            | Known::MaxForwards.bit()
            | Known::Range.bit()
            | Known::Location.bit()
            | Known::RetryAfter.bit()
            | Known::Date.bit();
        self.is_hop_by_hop() || self.is_protected() || SET & self.bit() != 0
    }
}

/// Compares a name with a known text of the same length without case, a word at a time.
///
/// The last word overlaps the one before.
#[inline(always)]
fn is_same(name: &[u8], text: &[u8]) -> bool {
    let length = text.len();
    if length < 4 {
        return name.eq_ignore_ascii_case(text);
    }
    if length < 8 {
        return is_same_half(name, text, 0) && is_same_half(name, text, length - 4);
    }
    let mut at = 0;
    while at + 8 < length {
        if !is_same_word(name, text, at) {
            return false;
        }
        at += 8;
    }
    is_same_word(name, text, length - 8)
}

/// Compares eight bytes: only bit 5 of a letter may differ. Known texts hold letters, digits and `-`,
/// of which letters alone have bit 6.
#[inline(always)]
fn is_same_word(name: &[u8], text: &[u8], at: usize) -> bool {
    const BIT_6: u64 = 0x4040_4040_4040_4040;
    let (Some(name), Some(text)) = (name[at..].first_chunk(), text[at..].first_chunk()) else {
        return false;
    };
    let (name, text) = (u64::from_le_bytes(*name), u64::from_le_bytes(*text));
    (name ^ text) & !((text & BIT_6) >> 1) == 0
}

/// Compares four bytes as [`is_same_word`] does eight.
#[inline(always)]
fn is_same_half(name: &[u8], text: &[u8], at: usize) -> bool {
    const BIT_6: u32 = 0x4040_4040;
    let (Some(name), Some(text)) = (name[at..].first_chunk(), text[at..].first_chunk()) else {
        return false;
    };
    let (name, text) = (u32::from_le_bytes(*name), u32::from_le_bytes(*text));
    (name ^ text) & !((text & BIT_6) >> 1) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_field_is_found_in_any_case() {
        for &(known, text) in Known::TABLE {
            for name in [text.to_owned(), text.to_lowercase(), text.to_uppercase()] {
                assert_eq!(Known::of(name.as_bytes()), known, "{name}");
            }
            let mut longer = text.to_owned();
            longer.push('x');
            assert_eq!(Known::of(longer.as_bytes()), Known::Other, "{longer}");
            for place in 0..text.len() {
                for byte in 0..=255_u8 {
                    let mut name = text.as_bytes().to_vec();
                    name[place] = byte;
                    let is_same = name.eq_ignore_ascii_case(text.as_bytes());
                    assert_eq!(
                        Known::of(&name) == known,
                        is_same,
                        "{}",
                        name.escape_ascii()
                    );
                }
            }
            let other: String = text.chars().rev().collect();
            assert_eq!(Known::of(other.as_bytes()), Known::Other, "{other}");
        }
        assert_eq!(Known::of(b""), Known::Other);
    }

    #[test]
    fn bits_do_not_collide() {
        assert!((Known::Other as u8) < 64);
    }
}
