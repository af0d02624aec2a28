//! Values of unit files as systemd reads them back (systemd.syntax(7), systemd.service(5) "Command lines"). The one place that knows the quoting.
//! `src/backend/quadlet/unit.rs` is to take its place where both are there.
use std::{fmt::Write, path::Path};

use crate::cli::exit::{Code, Failure, Result};

/// A word of `ExecStart=` behind the program: neither split, unescaped, expanded (`%`) nor substituted (`$`) into anything but the text itself.
pub(super) fn argument(text: &str) -> String {
    quoted(&text.replace('$', "$$"))
}

/// The program of `ExecStart=`, or a path in another setting: there `$` is nothing special, and escapes of control characters are not known.
///
/// # Errors
/// A path that is relative, not UTF-8, or has control characters.
pub(super) fn path(path: &Path) -> Result<String> {
    let refuse = |what: &str| Failure::new(Code::Usage, format!("{}: {what}, which a unit file cannot hold", path.display()));
    let text = path.to_str().ok_or_else(|| refuse("the path is not UTF-8"))?;
    if !path.is_absolute() {
        return Err(refuse("the path is relative"));
    }
    if text.chars().any(char::is_control) {
        return Err(refuse("the path has control characters"));
    }
    Ok(quoted(text))
}

/// In double quotes, unless every character is harmless without.
fn quoted(text: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "_./:=@,+-".contains(c);
    // First in a line, some of the harmless ones are prefixes of a command; no word of ours begins with them there.
    if !text.is_empty() && text.chars().all(harmless) {
        return text.to_owned();
    }
    let mut word = String::with_capacity(text.len() + 2);
    word.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => word.extend(['\\', c]),
            '%' => word.push_str("%%"),
            '\n' => word.push_str("\\n"),
            '\t' => word.push_str("\\t"),
            // A String takes all that is written to it.
            c if c.is_ascii_control() => drop(write!(word, "\\x{:02x}", u32::from(c))),
            c => word.push(c),
        }
    }
    word.push('"');
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_systemd_would_split_expand_or_substitute_are_quoted() {
        for (text, word) in [
            ("--state-dir", "--state-dir"),
            ("/var/lib/mesh", "/var/lib/mesh"),
            ("", r#""""#),
            ("a b", r#""a b""#),
            ("100%", r#""100%%""#),
            ("$HOME", r#""$$HOME""#),
            (r#"a"b\c"#, r#""a\"b\\c""#),
            (";", r#"";""#),
            ("it's", r#""it's""#),
            ("a\nb\t\u{1}", r#""a\nb\t\x01""#),
            ("ä\u{2028}", "\"ä\u{2028}\""),
        ] {
            assert_eq!(argument(text), word, "{text:?}");
        }
    }

    #[test]
    fn a_path_keeps_its_dollar_and_may_not_break_the_line() {
        assert_eq!(path(Path::new("/opt/my $x 5%/m")).unwrap(), r#""/opt/my $x 5%%/m""#);
        for bad in ["mesh", "/a\nb"] {
            assert!(path(Path::new(bad)).is_err(), "{bad:?}");
        }
    }
}
