//! One request head: its lines, and the fields on which framing and routing depend.
use http::Uri;

use super::{MAX_FIELDS, Reject};

/// How the body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// What a head says about what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// How the body is framed.
    pub framing: Framing,
    /// It asks for an upgrade.
    pub upgrade: bool,
}

#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
    connection_upgrade: bool,
}

/// A complete head and its length in bytes; none if it is not complete.
///
/// # Errors
/// The first thing in it that is not as it must be.
pub fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, Reject> {
    let Some((start, mut at)) = line(bytes, 0)? else { return Ok(None) };
    let mut fields = Fields::default();
    let mut count = 0;
    loop {
        let Some((text, next)) = line(bytes, at)? else { return Ok(None) };
        at = next;
        if text.is_empty() {
            break;
        }
        count += 1;
        if count > MAX_FIELDS {
            return Err(Reject::TooManyFields);
        }
        field(text, &mut fields)?;
    }
    let minor = request_line(start, &fields)?;
    let framing = match (fields.chunked, fields.length) {
        (true, Some(_)) => return Err(Reject::LengthAndEncoding),
        (true, None) if minor == 0 => return Err(Reject::TransferEncoding),
        (true, None) => Framing::Chunked,
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::None,
    };
    Ok(Some((Head { framing, upgrade: fields.upgrade && fields.connection_upgrade && minor == 1 }, at)))
}

/// The line that begins at `at`, without its end, and where the next one begins.
fn line(bytes: &[u8], at: usize) -> Result<Option<(&[u8], usize)>, Reject> {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some(end) = rest.iter().position(|&b| b == b'\n') else { return Ok(None) };
    let Some((b'\r', text)) = rest.get(..end).and_then(<[u8]>::split_last) else { return Err(Reject::BareLineFeed) };
    // Counted, not searched: without a branch per byte it is done many bytes at a time.
    if text.iter().filter(|&&b| (b < 0x20 && b != b'\t') || b == 0x7f).count() > 0 {
        return Err(Reject::ControlCharacter);
    }
    Ok(Some((text, at + end + 1)))
}

fn field<'a>(text: &'a [u8], fields: &mut Fields<'a>) -> Result<(), Reject> {
    if matches!(text.first(), Some(b' ' | b'\t')) {
        return Err(Reject::Folded);
    }
    let colon = text.iter().position(|&b| b == b':').ok_or(Reject::FieldName)?;
    let (Some(name), Some(value)) = (text.get(..colon), text.get(colon + 1..)) else { return Err(Reject::FieldName) };
    if name.is_empty() || !name.iter().all(|&b| is_token(b)) {
        return Err(Reject::FieldName);
    }
    match name.len() {
        4 if name.eq_ignore_ascii_case(b"host") => host(value.trim_ascii(), fields),
        7 if name.eq_ignore_ascii_case(b"upgrade") => {
            fields.upgrade = true;
            Ok(())
        }
        10 if name.eq_ignore_ascii_case(b"connection") => {
            fields.connection_upgrade |= value.split(|&b| b == b',').any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
            Ok(())
        }
        14 if name.eq_ignore_ascii_case(b"content-length") => length(value.trim_ascii(), fields),
        17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
            if fields.chunked || !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                return Err(Reject::TransferEncoding);
            }
            fields.chunked = true;
            Ok(())
        }
        _ => Ok(()),
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_!#$%&'*+.^`|~".contains(&byte)
}

/// What targets are made of (RFC 3986): unreserved, delimiters and escapes.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte)
}

fn host<'a>(value: &'a [u8], fields: &mut Fields<'a>) -> Result<(), Reject> {
    if !value.iter().all(|&b| b.is_ascii_alphanumeric() || b".-_:[]%~!$&'()*+;=".contains(&b)) {
        return Err(Reject::MalformedHost);
    }
    if fields.host.replace(value).is_some() { Err(Reject::SeveralHosts) } else { Ok(()) }
}

fn length(value: &[u8], fields: &mut Fields<'_>) -> Result<(), Reject> {
    // Text of digits only: no sign, no list, and short enough not to overflow.
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return Err(Reject::MalformedLength);
    }
    let number = value.iter().fold(0_u64, |sum, &digit| sum * 10 + u64::from(digit - b'0'));
    if fields.length.replace(number).is_some() { Err(Reject::SeveralLengths) } else { Ok(()) }
}

/// Checks `METHOD target HTTP/1.x` together with Host; gives x.
fn request_line(text: &[u8], fields: &Fields<'_>) -> Result<u8, Reject> {
    let mut parts = text.split(|&b| b == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(Reject::RequestLine);
    };
    let minor = match version {
        b"HTTP/1.1" => 1,
        b"HTTP/1.0" => 0,
        _ => return Err(Reject::Version),
    };
    if method.is_empty() || !method.iter().all(|&b| is_token(b)) || target.contains(&b'#') {
        return Err(Reject::RequestLine);
    }
    // The parser behind has the last word on what is not plain, and would answer without a word.
    if !target.iter().all(|&b| is_plain(b)) && Uri::try_from(target).is_err() {
        return Err(Reject::Target);
    }
    if method == b"CONNECT" {
        return Err(Reject::Connect);
    }
    if minor == 1 && fields.host.is_none() {
        return Err(Reject::NoHost);
    }
    match target {
        [b'/', ..] => Ok(minor),
        b"*" if method == b"OPTIONS" => Ok(minor),
        _ => absolute(target, fields.host).map(|()| minor),
    }
}

/// `http://host/path` must name the same host as Host does.
fn absolute(target: &[u8], host: Option<&[u8]>) -> Result<(), Reject> {
    let rest = target.split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"http://")).map(|(_, rest)| rest);
    let authority =
        rest.and_then(|rest| rest.split(|&b| matches!(b, b'/' | b'?')).next()).filter(|a| !a.is_empty()).ok_or(Reject::RequestLine)?;
    match host {
        Some(host) if without_default_port(host).eq_ignore_ascii_case(without_default_port(authority)) => Ok(()),
        Some(_) => Err(Reject::HostMismatch),
        None => Err(Reject::NoHost),
    }
}

/// `a:80` is `a` in `http:`.
fn without_default_port(authority: &[u8]) -> &[u8] {
    authority.strip_suffix(b":80").unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(head: &str) -> Result<Option<(Head, usize)>, Reject> {
        parse(head.as_bytes())
    }

    fn refused(head: &str, why: Reject) {
        assert_eq!(of(head), Err(why), "{head:?}");
    }

    #[test]
    fn plain_heads_pass_with_their_framing() {
        for (head, framing, upgrade) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Framing::None, false),
            ("GET / HTTP/1.0\r\n\r\n", Framing::None, false),
            ("POST /x?y HTTP/1.1\r\nhost:a:80\r\nContent-Length: 5\r\n\r\nhello", Framing::Length(5), false),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tChunked \r\n\r\n", Framing::Chunked, false),
            ("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n", Framing::None, true),
            ("GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", Framing::None, false),
            ("GET http://a/x HTTP/1.1\r\nHost: A\r\n\r\n", Framing::None, false),
            ("GET http://a:80/x HTTP/1.1\r\nHost: a\r\n\r\n", Framing::None, false),
            ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Framing::None, false),
            ("GET /{x}|\"é\"?[y] HTTP/1.1\r\nHost: a\r\n\r\n", Framing::None, false),
        ] {
            let (parsed, length) = of(head).unwrap().unwrap();
            assert_eq!(parsed, Head { framing, upgrade }, "{head:?}");
            assert_eq!(length, head.find("\r\n\r\n").unwrap() + 4);
        }
    }

    #[test]
    fn more_fields_than_can_be_read_are_refused() {
        let head = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
        assert!(of(&head(MAX_FIELDS)).unwrap().is_some());
        refused(&head(MAX_FIELDS + 1), Reject::TooManyFields);
    }

    #[test]
    fn an_incomplete_head_is_waited_for() {
        let head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for cut in 0..head.len() {
            assert_eq!(of(&head[..cut]), Ok(None), "{cut}");
        }
    }

    #[test]
    fn heads_that_can_be_read_in_two_ways_are_refused() {
        use Reject::{
            BareLineFeed, ControlCharacter, FieldName, Folded, HostMismatch, LengthAndEncoding, MalformedHost, MalformedLength, NoHost,
            RequestLine, SeveralHosts, SeveralLengths, TransferEncoding, Version,
        };
        for (fields, why) in [
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", LengthAndEncoding),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", SeveralLengths),
            ("Content-Length: +5\r\n", MalformedLength),
            ("Content-Length: 5, 5\r\n", MalformedLength),
            ("Content-Length: 0x5\r\n", MalformedLength),
            ("Content-Length:\r\n", MalformedLength),
            ("Content-Length: 99999999999999999999\r\n", MalformedLength),
            ("Transfer-Encoding: gzip, chunked\r\n", TransferEncoding),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", TransferEncoding),
            ("Transfer-Encoding: xchunked\r\n", TransferEncoding),
            ("Transfer-Encoding : chunked\r\n", FieldName),
            ("Transfer-Encoding\r\n", FieldName),
            (": x\r\n", FieldName),
            ("X: a\r\n b\r\n", Folded),
            ("X: a\nY: b\r\n", BareLineFeed),
            ("X: a\rY: b\r\n", ControlCharacter),
            ("X: a\0b\r\n", ControlCharacter),
            ("Host: b\r\n", SeveralHosts),
        ] {
            refused(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"), why);
        }
        for (head, why) in [
            ("GET / HTTP/1.1\r\n\r\n", NoHost),
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", MalformedHost),
            ("GET / HTTP/1.1\r\nHost: a/b@c\r\n\r\n", MalformedHost),
            ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", HostMismatch),
            ("GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n", HostMismatch),
            ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
            ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", RequestLine),
            ("GET /\r\nHost: a\r\n\r\n", RequestLine),
            ("GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
            ("GET /<x> HTTP/1.1\r\nHost: a\r\n\r\n", Reject::Target),
            ("GET /?a=<x> HTTP/1.1\r\nHost: a\r\n\r\n", Reject::Target),
            ("GET http://a/x^>y HTTP/1.1\r\nHost: a\r\n\r\n", Reject::Target),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Version),
            ("GET / http/1.1\r\nHost: a\r\n\r\n", Version),
            ("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", Reject::Connect),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", TransferEncoding),
            ("GET / HTTP/1.1\nHost: a\n\n", BareLineFeed),
        ] {
            refused(head, why);
        }
    }
}
