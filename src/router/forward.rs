//! What happens to header fields on the way: hop-by-hop ones end here, forwarding ones are set. Pure.
//!
//! - Hop-by-hop (RFC 9110, 7.6.1): `Connection` and what it names, `Keep-Alive`, `Proxy-Connection`, `TE`, `Upgrade`. `Connection` cannot name away what
//!   belongs to the whole way (`Host`, `Cookie`, `Authorization`, `X-Forwarded-*`, …).
//! - `X-Forwarded-For`, `-Proto`, `-Host` are ours. What a peer said before counts only if the peer is a trusted proxy; then its address is appended.
//!   `Forwarded`, `X-Real-IP` and `X-Forwarded-Port` of other peers are taken off, because a program might believe them.
//! - `Expect: 100-continue` is answered by the router as soon as the instance takes the body.
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, FORWARDED, HOST, SET_COOKIE, TE,
        TRANSFER_ENCODING, UPGRADE,
    },
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const HTTP: HeaderValue = HeaderValue::from_static("http");

/// The peer of a connection, as its requests' headers are to say.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its address, ready for a header.
    pub address: HeaderValue,
    /// Whether what it says about others is believed.
    pub trusted: bool,
}

/// Makes a client's headers those for the instance.
pub fn request(headers: &mut HeaderMap, peer: &Peer) {
    hop_by_hop(headers);
    headers.remove(EXPECT);
    if peer.trusted {
        append_peer(headers, &peer.address);
        headers.entry(FORWARDED_PROTO).or_insert(HTTP);
        if headers.contains_key(FORWARDED_HOST) {
            return;
        }
    } else {
        for name in [FORWARDED, FORWARDED_PORT, REAL_IP] {
            headers.remove(name);
        }
        headers.insert(FORWARDED_FOR, peer.address.clone());
        headers.insert(FORWARDED_PROTO, HTTP);
    }
    match headers.get(HOST).cloned() {
        Some(host) => drop(headers.insert(FORWARDED_HOST, host)),
        None => drop(headers.remove(FORWARDED_HOST)),
    }
}

/// Makes an instance's headers those for the client. The framing of the body is decided anew.
pub fn response(headers: &mut HeaderMap) {
    hop_by_hop(headers);
    headers.remove(TRANSFER_ENCODING);
}

/// Whether the request came to a trusted proxy by https.
pub fn is_secure(headers: &HeaderMap, peer: &Peer) -> bool {
    peer.trusted && headers.get(FORWARDED_PROTO).is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"))
}

fn append_peer(headers: &mut HeaderMap, address: &HeaderValue) {
    let mut all = Vec::new();
    for said in headers.get_all(FORWARDED_FOR) {
        all.extend_from_slice(said.as_bytes());
        all.extend_from_slice(b", ");
    }
    all.extend_from_slice(address.as_bytes());
    // Parts that were header values make a header value again.
    headers.insert(FORWARDED_FOR, HeaderValue::from_bytes(&all).unwrap_or_else(|_| address.clone()));
}

fn hop_by_hop(headers: &mut HeaderMap) {
    let mut said = headers.get_all(CONNECTION).iter();
    match (said.next(), said.next()) {
        (None, _) => {}
        // The usual case, without a copy.
        (Some(only), None) if only.as_bytes().eq_ignore_ascii_case(b"keep-alive") || only.as_bytes().eq_ignore_ascii_case(b"close") => {
            headers.remove(CONNECTION);
        }
        _ => {
            let all: Vec<HeaderValue> = headers.get_all(CONNECTION).iter().cloned().collect();
            headers.remove(CONNECTION);
            for connection in &all {
                remove_named(headers, connection);
            }
        }
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, TE, UPGRADE] {
        headers.remove(name);
    }
}

fn remove_named(headers: &mut HeaderMap, connection: &HeaderValue) {
    for name in connection.as_bytes().split(|&b| b == b',') {
        if let Ok(name) = HeaderName::from_bytes(name.trim_ascii())
            && !is_end_to_end(&name)
        {
            headers.remove(name);
        }
    }
}

/// Fields that no hop may have removed.
fn is_end_to_end(name: &HeaderName) -> bool {
    [HOST, AUTHORIZATION, COOKIE, SET_COOKIE, CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING, TRANSFER_ENCODING, FORWARDED, REAL_IP]
        .contains(name)
        || name.as_str().starts_with("x-forwarded-")
        || name.as_str().starts_with("x-mesh-")
        || name.as_str().starts_with("sec-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn peer(trusted: bool) -> Peer {
        Peer { address: HeaderValue::from_static("192.0.2.7"), trusted }
    }

    #[test]
    fn hop_by_hop_fields_end_here_and_end_to_end_ones_cannot_be_named_away() {
        let mut map = headers(&[
            ("connection", "X-Secret-Hop, keep-alive, Cookie, X-Forwarded-For, Host, authorization"),
            ("x-secret-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("proxy-connection", "keep-alive"),
            ("cookie", "a=b"),
            ("host", "shop.example"),
            ("authorization", "Bearer x"),
            ("expect", "100-continue"),
        ]);
        request(&mut map, &peer(false));
        let mut left: Vec<_> = map.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["authorization", "cookie", "host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"]);
    }

    #[test]
    fn what_an_untrusted_peer_says_about_others_is_replaced() {
        let mut map = headers(&[
            ("host", "shop.example"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-for", "10.0.0.2"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil.example"),
            ("x-real-ip", "10.0.0.3"),
            ("forwarded", "for=10.0.0.4"),
        ]);
        assert!(!is_secure(&map, &peer(false)));
        request(&mut map, &peer(false));
        assert_eq!(
            map,
            headers(&[
                ("host", "shop.example"),
                ("x-forwarded-for", "192.0.2.7"),
                ("x-forwarded-proto", "http"),
                ("x-forwarded-host", "shop.example")
            ])
        );
    }

    #[test]
    fn a_trusted_proxy_is_believed_and_appended() {
        let mut map = headers(&[
            ("host", "inner"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-for", "10.0.0.2"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example"),
        ]);
        assert!(is_secure(&map, &peer(true)));
        request(&mut map, &peer(true));
        assert_eq!(
            map,
            headers(&[
                ("host", "inner"),
                ("x-forwarded-for", "10.0.0.1, 10.0.0.2, 192.0.2.7"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "shop.example")
            ])
        );
    }
}
