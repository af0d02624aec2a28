//! The first lines of every file that is made here: by whom, from what, and a hash of the rest, by which a later run knows whether somebody edited it.
use std::fmt::Write;

use sha2::{Digest, Sha256};

const MADE: &str = "# Made by mesh ";
const HASH: &str = "# mesh-hash: sha256:";

/// What a file that lies there is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Made here, and as it was made.
    Ours,
    /// Made here, and edited since.
    Edited,
    /// Made by somebody else.
    Foreign,
}

/// A body under its header. `set` is the name of all files that are made together; `from` is for people: `MeshService shop/api`.
pub fn add(body: &str, set: &str, from: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let plain = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    let (set, from) = (plain(set), plain(from));
    let line =
        format!("{MADE}{version} ({set}) from {from}. What is edited here is overwritten by --force only: use drop-ins of your own.\n");
    format!("{line}{HASH}{}\n\n{body}", hash(&line, body))
}

/// The set that a file of ours says it belongs to.
pub fn set(text: &str) -> Option<&str> {
    let line = text.lines().next()?.strip_prefix(MADE)?;
    Some(line.split_once(" (")?.1.split_once(") from ")?.0)
}

/// What a text is, by its header.
pub fn found(text: &str) -> Found {
    let parts = text.split_once('\n').filter(|(made, _)| made.starts_with(MADE));
    let Some((made, rest)) = parts else { return Found::Foreign };
    let Some((written, body)) = rest.strip_prefix(HASH).and_then(|rest| rest.split_once("\n\n")) else { return Found::Edited };
    if written == hash(&format!("{made}\n"), body) { Found::Ours } else { Found::Edited }
}

/// The text below the header; all of it if there is none.
pub fn body(text: &str) -> &str {
    match found(text) {
        Found::Foreign => text,
        Found::Ours | Found::Edited => text.split_once("\n\n").map_or(text, |(_, body)| body),
    }
}

fn hash(lines: &str, body: &str) -> String {
    let mut sum = Sha256::new();
    sum.update(lines.as_bytes());
    sum.update(body.as_bytes());
    hex(&sum.finalize())
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut digits, byte| {
        // Writing into a String cannot fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_anywhere_is_seen_and_a_foreign_file_stays_one() {
        let made = add("[Unit]\nDescription=x\n", "shop", "MeshService shop/api");
        assert_eq!(set(&made), Some("shop"));
        assert_eq!((found(&made), body(&made)), (Found::Ours, "[Unit]\nDescription=x\n"));
        for (edit, expected) in [
            (made.replace("=x", "=y"), Found::Edited),
            (made.replace("shop/api", "shop/web"), Found::Edited),
            (format!("{made}\n"), Found::Edited),
            (made.replace("# mesh-hash", "# hash"), Found::Edited),
            (format!("\n{made}"), Found::Foreign),
            ("[Unit]\n".to_owned(), Found::Foreign),
            (String::new(), Found::Foreign),
        ] {
            assert_eq!(found(&edit), expected, "{edit}");
        }
    }
}
