//! Request paths as routes see them. Pure, and the one place where it is decided which spellings of a path are taken.
//!
//! The instance gets the path as it was sent, so what decides the route must be what the instance reads. Programs differ in what they undo before they look:
//! escapes, double slashes, parameters (`;a=b`). Therefore:
//! - what is never plain is refused: `.` and `..` segments, backslashes and control characters, in whatever escape, broken escapes, and a path that begins
//!   with `//` (a program that reads it as a URL takes `//api/admin` for the path `/admin` of a host `api`);
//! - of what may be undone or not, both readings must lead to the same route ([`Readings`]); else it is refused too.
/// A path that no route can be decided for safely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ambiguous {
    /// `.` or `..` as a segment, plain or escaped.
    #[error("the path has a dot segment")]
    DotSegment,
    /// A backslash, plain or escaped, or an escaped control character.
    #[error("the path has a backslash or a control character")]
    Character,
    /// `%` without two hexadecimal digits after it.
    #[error("the path has a broken escape")]
    Escape,
    /// `//` at its begin.
    #[error("the path begins with //")]
    Authority,
    /// Escapes, double slashes or parameters, and with them undone it would be another route's.
    #[error("the path belongs to another route once its escapes, double slashes and parameters are undone")]
    Routes,
}

/// How a path may be read: as it was sent, and with everything undone that a program may undo. The same for a plain path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readings<'a> {
    /// As it was sent.
    pub sent: &'a str,
    /// Without escapes, double slashes and parameters; nothing if there are none.
    pub undone: Option<String>,
}

/// How a path may be read.
///
/// # Errors
/// [`Ambiguous`], but for [`Ambiguous::Routes`], which depends on the routes.
pub fn readings(path: &str) -> Result<Readings<'_>, Ambiguous> {
    let bytes = path.as_bytes();
    let mut last = 0;
    let plain = bytes.iter().all(|&byte| {
        let odd = matches!(byte, b'%' | b'\\' | b';') || (last == b'/' && (byte == b'/' || byte == b'.'));
        last = byte;
        !odd
    });
    if plain {
        return Ok(Readings { sent: path, undone: None });
    }
    if bytes.starts_with(b"//") {
        return Err(Ambiguous::Authority);
    }
    let decoded = decode(bytes)?;
    if decoded.split(|&byte| byte == b'/').any(is_dot_segment) {
        return Err(Ambiguous::DotSegment);
    }
    Ok(Readings { sent: path, undone: Some(undo(&decoded)).filter(|undone| undone != path) })
}

fn decode(bytes: &[u8]) -> Result<Vec<u8>, Ambiguous> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter().copied();
    while let Some(byte) = rest.next() {
        match if byte == b'%' { hex(rest.next())? << 4 | hex(rest.next())? } else { byte } {
            b'\\' | 0..0x20 | 0x7f => return Err(Ambiguous::Character),
            other => out.push(other),
        }
    }
    Ok(out)
}

/// Without parameters and double slashes.
fn undo(decoded: &[u8]) -> String {
    let mut out = Vec::with_capacity(decoded.len());
    for (n, segment) in decoded.split(|&byte| byte == b'/').enumerate() {
        if n > 0 && out.last() != Some(&b'/') {
            out.push(b'/');
        }
        out.extend_from_slice(without_parameters(segment));
    }
    // Prefixes are plain text; what is no UTF-8 after decoding can match none beyond its readable part.
    String::from_utf8_lossy(&out).into_owned()
}

fn without_parameters(segment: &[u8]) -> &[u8] {
    segment.split(|&byte| byte == b';').next().unwrap_or_default()
}

/// `.` and `..`, also with parameters (`..;a=b`), which some servers cut off first.
fn is_dot_segment(segment: &[u8]) -> bool {
    matches!(without_parameters(segment), b"." | b"..")
}

fn hex(byte: Option<u8>) -> Result<u8, Ambiguous> {
    byte.and_then(|b| char::from(b).to_digit(16)).and_then(|digit| u8::try_from(digit).ok()).ok_or(Ambiguous::Escape)
}

/// The path's prefixes on borders of segments, the longest first, and `""` last: `/a/b` gives `/a/b`, `/a` and `""`.
pub fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    let mut next = Some(path.trim_end_matches('/'));
    std::iter::from_fn(move || {
        let this = next?;
        next = this.rfind('/').and_then(|border| this.get(..border));
        Some(this)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn undone(path: &str) -> Option<String> {
        readings(path).unwrap().undone
    }

    #[test]
    fn plain_paths_have_one_reading() {
        for path in ["/", "/api", "/api/x.y", "/a.b/c..d/...", "/~user/x=1", "", "/.well-known/x", "/a/..."] {
            assert_eq!(readings(path), Ok(Readings { sent: path, undone: None }), "{path}");
        }
    }

    #[test]
    fn escapes_double_slashes_and_parameters_have_a_second_one() {
        for (path, seen) in [
            ("/a//admin", "/a/admin"),
            ("/%2Fadmin", "/admin"),
            ("/%61dmin", "/admin"),
            ("/a%2Fb", "/a/b"),
            ("/a%2f%2Fb", "/a/b"),
            ("/a///b//", "/a/b/"),
            ("/a%20b", "/a b"),
            ("/api;x=1/admin;y", "/api/admin"),
            ("/api%3bx/admin", "/api/admin"),
        ] {
            assert_eq!(undone(path).as_deref(), Some(seen), "{path}");
        }
    }

    #[test]
    fn a_path_that_begins_like_an_authority_is_refused() {
        for path in ["//api/admin", "//", "///x"] {
            assert_eq!(readings(path), Err(Ambiguous::Authority), "{path}");
        }
    }

    #[test]
    fn dot_segments_are_refused_in_every_disguise() {
        for path in ["/api/../admin", "/./x", "/x/..", "/x/%2e%2e/y", "/x/.%2E/y", "/x%2F..%2fy", "/..;a=b/y", "/x/.", "/x//../y"] {
            assert_eq!(readings(path), Err(Ambiguous::DotSegment), "{path}");
        }
        for path in ["/a\\..\\b", "/a%5cb", "/a%00", "/a%0d%0ab", "/%7f"] {
            assert_eq!(readings(path), Err(Ambiguous::Character), "{path}");
        }
        for path in ["/%", "/%4", "/%zz", "/x%2"] {
            assert_eq!(readings(path), Err(Ambiguous::Escape), "{path}");
        }
    }

    #[test]
    fn prefixes_end_on_borders_of_segments() {
        assert_eq!(prefixes("/a/b/c").collect::<Vec<_>>(), ["/a/b/c", "/a/b", "/a", ""]);
        assert_eq!(prefixes("/a/").collect::<Vec<_>>(), ["/a", ""]);
        assert_eq!(prefixes("/").collect::<Vec<_>>(), [""]);
        assert_eq!(prefixes("*").collect::<Vec<_>>(), ["*"]);
    }

    proptest! {
        #[test]
        fn no_reading_has_a_dot_segment_and_the_second_no_empty_one(path in "(/|%2[fF]|%2[eE]|\\.|a|%61|;|\\\\){0,24}") {
            let path = format!("/{path}");
            if let Ok(Readings { sent, undone }) = readings(&path) {
                let undone = undone.as_deref().unwrap_or(sent);
                prop_assert!(!undone.contains("//") && !undone.contains('%') && !undone.contains(';'), "{undone}");
                prop_assert!([sent, undone].iter().all(|path| path.split('/').all(|s| s != "." && s != "..")), "{sent} {undone}");
            }
        }

        #[test]
        fn every_prefix_is_followed_by_a_border(path in "(/[a-c]{1,2}){0,6}/?") {
            for prefix in prefixes(&path) {
                let rest = path.strip_prefix(prefix).unwrap();
                prop_assert!(rest.is_empty() || rest.starts_with('/'), "{prefix} {rest}");
            }
        }
    }
}
