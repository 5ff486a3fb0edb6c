//! The four forms of a request target (RFC 9112, 3.2).

use crate::host::is_valid_host;
use crate::method::Method;
use crate::reason::Reason;

/// Names the form in which a target was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `/path?query`
    Origin,
    /// `http://authority/path?query`
    Absolute,
    /// `host:port`, CONNECT only.
    Authority,
    /// `*`, OPTIONS only.
    Asterisk,
}

/// Locates the parts of a target, as offsets into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) form: Form,
    pub(crate) is_https: bool,
    pub(crate) authority: (usize, usize),
    pub(crate) path: usize,
}

/// Finds form and parts of a target whose bytes were already judged.
#[inline]
pub(crate) fn analyse(target: &[u8], method: Method) -> Result<Parts, Reason> {
    if target.first() == Some(&b'/') && method != Method::Connect {
        return Ok(Parts {
            form: Form::Origin,
            is_https: false,
            authority: (0, 0),
            path: 0,
        });
    }
    analyse_rare(target, method)
}

fn analyse_rare(target: &[u8], method: Method) -> Result<Parts, Reason> {
    match method {
        Method::Connect => authority_form(target),
        Method::Options if target == b"*" => Ok(Parts {
            form: Form::Asterisk,
            is_https: false,
            authority: (0, 0),
            path: 0,
        }),
        _ => absolute_form(target),
    }
}

fn authority_form(target: &[u8]) -> Result<Parts, Reason> {
    let (host, port) = crate::host::split(target);
    let has_port = port.is_some_and(|port| !port.is_empty());
    if host.is_empty() || !has_port || !is_valid_host(target) {
        return Err(Reason::Target);
    }
    Ok(Parts {
        form: Form::Authority,
        is_https: false,
        authority: (0, target.len()),
        path: target.len(),
    })
}

fn absolute_form(target: &[u8]) -> Result<Parts, Reason> {
    let (start, is_https) = if has_prefix(target, b"http://") {
        (7, false)
    } else if has_prefix(target, b"https://") {
        (8, true)
    } else {
        return Err(Reason::Target);
    };
    let length = memchr::memchr2(b'/', b'?', &target[start..]).unwrap_or(target.len() - start);
    let path = start + length;
    let authority = &target[start..path];
    if crate::host::split(authority).0.is_empty() || !is_valid_host(authority) {
        return Err(Reason::HostInvalid);
    }
    Ok(Parts {
        form: Form::Absolute,
        is_https,
        authority: (start, path),
        path,
    })
}

fn has_prefix(target: &[u8], prefix: &[u8]) -> bool {
    target.len() >= prefix.len() && target[..prefix.len()].eq_ignore_ascii_case(prefix)
}
