//! What happens to header fields on the way: hop-by-hop ones end here, forwarding ones are set. Pure.
//!
//! - Hop-by-hop (RFC 9110, 7.6.1): `Connection` and what it names, `Keep-Alive`, `Proxy-Connection`, `Upgrade`; of `TE` only `trailers` is said anew.
//!   `Connection` cannot name away what belongs to the whole way (`Host`, `Cookie`, `Authorization`, `X-Forwarded-*`, …).
//! - `X-Forwarded-For`, `-Proto`, `-Host` are ours. What a peer said before counts only if the peer is a trusted proxy; then its address is appended.
//!   Whatever else programs believe about who asked for what ([`is_claim`]) is taken off for other peers.
//! - A name with `_` is the same as with `-` to programs that get fields as variables (CGI, WSGI, Rack, PHP): those that would pass for one of the fields
//!   above, or for one of framing, are taken off whoever sends them. So is `Proxy`, which such programs take for `$HTTP_PROXY`.
//! - Trailers come after all this was decided: none of these fields is one of theirs (RFC 9110, 6.5.1).
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
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const PROXY: HeaderName = HeaderName::from_static("proxy");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
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
    let trailers = headers.get_all(TE).iter().any(takes_trailers);
    hop_by_hop(headers);
    headers.remove(EXPECT);
    remove_all(headers, |name| is_disguised(name) || (!peer.trusted && is_claim(name)));
    headers.remove(PROXY);
    if trailers {
        // Ours, to the next hop; the instance's trailers go on to the client.
        headers.insert(TE, TRAILERS);
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    if peer.trusted {
        append_peer(headers, &peer.address);
        headers.entry(FORWARDED_PROTO).or_insert(HTTP);
        if headers.contains_key(FORWARDED_HOST) {
            return;
        }
    } else {
        headers.insert(FORWARDED_FOR, peer.address.clone());
        headers.insert(FORWARDED_PROTO, HTTP);
    }
    match headers.get(HOST).cloned() {
        Some(host) => drop(headers.insert(FORWARDED_HOST, host)),
        None => drop(headers.remove(FORWARDED_HOST)),
    }
}

/// Takes away what no trailer may say: what was decided by the head.
pub fn trailers(trailers: &mut HeaderMap) {
    let decided = |name: &str| {
        let exact = [
            "host",
            "authorization",
            "cookie",
            "set-cookie",
            "content-length",
            "content-type",
            "content-encoding",
            "content-range",
            "transfer-encoding",
            "connection",
            "keep-alive",
            "proxy-connection",
            "upgrade",
            "te",
            "trailer",
            "expect",
            "proxy",
            "proxy-authorization",
            "cache-control",
            "max-forwards",
            "range",
        ];
        exact.contains(&name) || name.starts_with("x-mesh-")
    };
    remove_all(trailers, |name| decided(name) || is_claim(name) || is_disguised(name));
}

/// Whether a field says who asked for what, in place of the connection and the request line.
fn is_claim(name: &str) -> bool {
    const CLAIMS: [&str; 17] = [
        "forwarded",
        "x-real-ip",
        "client-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "cf-connecting-ipv6",
        "fastly-client-ip",
        "x-remote-ip",
        "x-remote-addr",
        "x-host",
        "x-scheme",
        "x-url-scheme",
        "front-end-https",
        "x-rewrite-url",
        "x-envoy-external-address",
    ];
    // Most names end here.
    matches!(name.as_bytes().first(), Some(b'x' | b'f' | b'c' | b't'))
        && (name.starts_with("x-forwarded") || name.starts_with("x-original-") || CLAIMS.contains(&name))
}

/// Whether a program that gets fields as variables could take it for another field, which is ours to decide.
fn is_disguised(name: &str) -> bool {
    name.contains('_') && {
        let plain = name.replace('_', "-");
        is_claim(&plain)
            || HeaderName::from_bytes(plain.as_bytes()).is_ok_and(|name| is_end_to_end(&name) || name == PROXY || name == EXPECT)
    }
}

fn takes_trailers(te: &HeaderValue) -> bool {
    te.as_bytes().split(|&b| b == b',').any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// Removes the fields whose names are so. Nothing is copied where there are none.
fn remove_all(headers: &mut HeaderMap, is: impl Fn(&str) -> bool) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| is(name.as_str())).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Whether the body of an instance's answer ends at one place only: what is decoded here as chunks is nothing else besides.
pub fn is_framed_plainly(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(only), None) => only.as_bytes().eq_ignore_ascii_case(b"chunked") && !headers.contains_key(CONTENT_LENGTH),
        (Some(_), Some(_)) => false,
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
        let expected = ["authorization", "connection", "cookie", "host", "te", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
        assert_eq!(left, expected);
        assert_eq!((&map["connection"], &map["te"]), (&HeaderValue::from_static("te"), &TRAILERS), "the router takes trailers too");
    }

    /// Names that the instance gets of a request with these.
    fn left(names: &[&'static str], trusted: bool) -> Vec<String> {
        let mut map: HeaderMap = names.iter().map(|name| (HeaderName::from_static(name), HeaderValue::from_static("1"))).collect();
        request(&mut map, &peer(trusted));
        let ours = [FORWARDED_FOR, FORWARDED_PROTO, FORWARDED_HOST];
        let left: Vec<_> = map.keys().filter(|name| !ours.contains(name)).map(ToString::to_string).collect();
        names.iter().map(ToString::to_string).filter(|name| left.contains(name)).collect()
    }

    #[test]
    fn whatever_says_who_asked_for_what_is_believed_of_trusted_proxies_only() {
        let claims = [
            "x-forwarded-prefix",
            "x-forwarded-port",
            "x-forwarded-server",
            "x-forwarded-user",
            "x-forwarded-client-cert",
            "x-forwarded",
            "forwarded",
            "x-real-ip",
            "x-original-url",
            "x-rewrite-url",
            "x-client-ip",
            "true-client-ip",
            "cf-connecting-ip",
            "front-end-https",
        ];
        assert_eq!(left(&claims, false), Vec::<String>::new());
        assert_eq!(left(&claims, true), claims);
        let others = ["x-request-id", "api_key", "x-forwarder", "user-agent", "x-api_version"];
        assert_eq!(left(&others, false), others);
    }

    #[test]
    fn underscores_do_not_hide_a_field_that_is_ours_to_decide() {
        let names = [
            "x_forwarded_for",
            "x-forwarded_proto",
            "x_real_ip",
            "forwarded_",
            "content_length",
            "transfer_encoding",
            "host_",
            "x_original_url",
            "proxy",
        ];
        for trusted in [false, true] {
            assert_eq!(left(&names, trusted), ["forwarded_", "host_"], "a name of nothing passes");
        }
    }

    #[test]
    fn a_trailer_says_nothing_that_the_head_decided() {
        let mut map = headers(&[
            ("x-checksum", "1"),
            ("grpc-status", "0"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x_forwarded_for", "10.0.0.1"),
            ("x-real-ip", "10.0.0.1"),
            ("host", "evil"),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("authorization", "Basic x"),
        ]);
        trailers(&mut map);
        assert_eq!(map, headers(&[("x-checksum", "1"), ("grpc-status", "0")]));
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
