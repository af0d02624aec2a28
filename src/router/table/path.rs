//! Request paths as routes see them. Pure.
//!
//! A path that says `.` or `..`, in whatever escape, is refused: two programs would read it differently, and so it could pass by a longer prefix.
//! `//`, `%2F` and needless escapes are only undone for the match; the instance gets the path as it was sent.
use std::borrow::Cow;

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
}

/// The path as it is compared with prefixes.
///
/// # Errors
/// [`Ambiguous`].
pub fn comparable(path: &str) -> Result<Cow<'_, str>, Ambiguous> {
    let bytes = path.as_bytes();
    let mut last = 0;
    let plain = bytes.iter().all(|&byte| {
        let odd = byte == b'%' || byte == b'\\' || (last == b'/' && (byte == b'/' || byte == b'.'));
        last = byte;
        !odd
    });
    if plain { Ok(Cow::Borrowed(path)) } else { undo(bytes).map(Cow::Owned) }
}

fn undo(bytes: &[u8]) -> Result<String, Ambiguous> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter().copied();
    while let Some(byte) = rest.next() {
        let decoded = match byte {
            b'%' => hex(rest.next())? << 4 | hex(rest.next())?,
            other => other,
        };
        match decoded {
            b'\\' | 0..0x20 | 0x7f => return Err(Ambiguous::Character),
            b'/' if out.last() == Some(&b'/') => {}
            other => out.push(other),
        }
    }
    if out.split(|&byte| byte == b'/').any(is_dot_segment) {
        return Err(Ambiguous::DotSegment);
    }
    // Prefixes are plain text; what is no UTF-8 after decoding can match none beyond its readable part.
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// `.` and `..`, also with parameters (`..;a=b`), which some servers cut off first.
fn is_dot_segment(segment: &[u8]) -> bool {
    matches!(segment.split(|&byte| byte == b';').next(), Some(b"." | b".."))
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

    #[test]
    fn plain_paths_are_compared_as_they_are() {
        for path in ["/", "/api", "/api/x.y", "/a.b/c..d/...", "/~user/x;y=1", ""] {
            assert!(matches!(comparable(path), Ok(Cow::Borrowed(same)) if same == path) || path.contains("/."), "{path}");
        }
        assert_eq!(comparable("/.well-known/x").unwrap(), "/.well-known/x");
        assert_eq!(comparable("/a/...").unwrap(), "/a/...");
    }

    #[test]
    fn escapes_and_double_slashes_cannot_hide_a_prefix() {
        for (path, seen) in [
            ("//admin", "/admin"),
            ("/%61dmin", "/admin"),
            ("/a%2Fb", "/a/b"),
            ("/a%2f%2Fb", "/a/b"),
            ("/a///b//", "/a/b/"),
            ("/a%20b", "/a b"),
        ] {
            assert_eq!(comparable(path).unwrap(), seen, "{path}");
        }
    }

    #[test]
    fn dot_segments_are_refused_in_every_disguise() {
        for path in ["/api/../admin", "/./x", "/x/..", "/x/%2e%2e/y", "/x/.%2E/y", "/x%2F..%2fy", "/..;a=b/y", "/x/.", "//../y"] {
            assert_eq!(comparable(path), Err(Ambiguous::DotSegment), "{path}");
        }
        for path in ["/a\\..\\b", "/a%5cb", "/a%00", "/a%0d%0ab", "/%7f"] {
            assert_eq!(comparable(path), Err(Ambiguous::Character), "{path}");
        }
        for path in ["/%", "/%4", "/%zz", "/x%2"] {
            assert_eq!(comparable(path), Err(Ambiguous::Escape), "{path}");
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
        fn what_is_compared_never_has_a_dot_segment_or_an_empty_one(path in "(/|%2[fF]|%2[eE]|\\.|a|%61|;|\\\\){0,24}") {
            if let Ok(seen) = comparable(&format!("/{path}")) {
                prop_assert!(!seen.contains("//") && !seen.contains('%'), "{seen}");
                prop_assert!(seen.split('/').all(|s| s != "." && s != ".."), "{seen}");
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
