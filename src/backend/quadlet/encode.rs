//! The one place where a value becomes text: quoting, `%`, `$`, line breaks. What cannot be written so that its reader gets it back is refused.
//!
//! A value is read twice: by Quadlet, which makes an `ExecStart=` of it, and by systemd, which reads that line and everything else in the
//! generated file. systemd ends a line at a carriage return too, expands `%`, and replaces `$`; Quadlet escapes neither.
use super::{keys::Class, value::Value};

/// The longest text of one value. Linux refuses arguments of 128 KiB, and systemd lines of 1 MiB.
pub const LONGEST: usize = 120 * 1024;

/// Why a value cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    /// It is empty, where that would take the key away.
    #[error("it is empty")]
    Empty,
    /// NUL.
    #[error("it contains a NUL character, which no argument can hold")]
    Nul,
    /// A line break or another control character, where there is no escape for it.
    #[error("it contains a line break or another control character, which this key cannot hold")]
    Control,
    /// U+0080, which Quadlet writes as the byte 0x80.
    #[error("it contains the character U+0080, which Quadlet would change")]
    Padding,
    /// Leading or trailing white space.
    #[error("it begins or ends with white space, which would be cut off")]
    Space,
    /// A quote at an end.
    #[error("it begins or ends with a double quote, which would be cut off")]
    Quote,
    /// A backslash at the end.
    #[error("it ends with a backslash, which would join it with the next line")]
    Backslash,
    /// Longer than [`LONGEST`].
    #[error("it is longer than {LONGEST} bytes, which is the most that an argument can hold")]
    Long,
    /// A character outside the few that the key takes.
    #[error("it may contain letters, digits and _ . / : = , @ + - only")]
    Characters,
    /// A variable's name.
    #[error("its name is empty or contains '='")]
    Name,
    /// A value of another class.
    #[error("it is of another class than its key (a mistake in mesh itself)")]
    Class,
}

/// A word that Quadlet's splitting or systemd's would take for something else.
#[derive(Debug, Clone, Copy)]
pub struct OddWord {
    /// The word.
    pub word: &'static str,
    /// The variable of the service that stands for it.
    pub variable: &'static str,
}

/// Quadlet ends a command line at an empty word; it drops the quotes of a lone semicolon, which then ends the command for systemd.
pub const ODD_WORDS: [OddWord; 2] = [OddWord { word: "", variable: "MESH_EMPTY" }, OddWord { word: ";", variable: "MESH_SEMICOLON" }];

/// The text of a value, as it stands behind `KEY=`.
///
/// # Errors
/// It cannot be written.
pub fn value(class: Class, value: &Value) -> Result<String, Bad> {
    match (class, value) {
        (Class::Raw | Class::RawList, Value::Text(text)) => raw(text).map(|text| double_dollars(&text)),
        (Class::Setting | Class::SettingList, Value::Text(text)) => raw(text),
        // Their readers know no names behind a percent sign.
        (Class::Number, Value::Text(text)) => raw(text).map(|_| text.clone()),
        (Class::Words, Value::Words(list)) => words(list, argument),
        (Class::Command, Value::Words(list)) => words(list, command_word),
        (Class::Plainwords, Value::Words(list)) => words(list, plain),
        (Class::Pairs, Value::Pair(key, value)) => pair(key, value),
        (Class::Bool, Value::Flag(flag)) => Ok(flag.to_string()),
        _ => Err(Bad::Class),
    }
}

/// The rest of a line, with percent signs doubled.
fn raw(text: &str) -> Result<String, Bad> {
    check(text)?;
    if text.is_empty() {
        return Err(Bad::Empty);
    }
    if text.chars().any(char::is_control) {
        return Err(Bad::Control);
    }
    // Both White_Space, as in Go and in systemd; the byte order mark is none, but nobody sees it.
    if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
        return Err(Bad::Space);
    }
    if text.starts_with('"') || text.ends_with('"') {
        return Err(Bad::Quote);
    }
    if text.ends_with('\\') {
        return Err(Bad::Backslash);
    }
    Ok(text.replace('%', "%%"))
}

fn double_dollars(text: &str) -> String {
    text.replace('$', "$$")
}

fn check(text: &str) -> Result<(), Bad> {
    if text.len() > LONGEST {
        Err(Bad::Long)
    } else if text.contains('\0') {
        Err(Bad::Nul)
    } else if text.contains('\u{80}') {
        Err(Bad::Padding)
    } else {
        Ok(())
    }
}

fn words(list: &[String], word: impl Fn(&str) -> Result<String, Bad>) -> Result<String, Bad> {
    if list.is_empty() {
        return Err(Bad::Empty);
    }
    let written = list.iter().map(|text| word(text)).collect::<Result<Vec<_>, _>>()?;
    Ok(written.join(" "))
}

/// A word that Quadlet splits off and systemd reads again.
fn argument(text: &str) -> Result<String, Bad> {
    match ODD_WORDS.iter().find(|odd| odd.word == text) {
        Some(odd) => Ok(format!("${{{}}}", odd.variable)),
        None => quoted(text),
    }
}

/// A word that systemd alone reads; there, quotes around nothing or a semicolon do what they should.
fn command_word(text: &str) -> Result<String, Bad> {
    quoted(text)
}

fn plain(text: &str) -> Result<String, Bad> {
    check(text)?;
    let known = |c: char| c.is_ascii_alphanumeric() || "_./:=,@+-".contains(c);
    if text.is_empty() {
        Err(Bad::Empty)
    } else if text.chars().all(known) {
        Ok(text.to_owned())
    } else {
        Err(Bad::Characters)
    }
}

fn pair(key: &str, value: &str) -> Result<String, Bad> {
    if key.is_empty() || key.contains('=') {
        return Err(Bad::Name);
    }
    if key.chars().any(char::is_control) {
        return Err(Bad::Control);
    }
    quoted(&format!("{key}={value}"))
}

/// The word between double quotes, unless it has none but harmless characters.
fn quoted(text: &str) -> Result<String, Bad> {
    check(text)?;
    let harmless = |c: char| c.is_ascii_alphanumeric() || "_./:=,@+-".contains(c);
    if !text.is_empty() && text.chars().all(harmless) {
        return Ok(text.to_owned());
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '%' => out.push_str("%%"),
            '$' => out.push_str("$$"),
            c if c.is_ascii_control() => out.extend(["\\x", &super::header::hex(&[u8::try_from(c).unwrap_or_default()])]),
            c => out.push(c),
        }
    }
    out.push('"');
    Ok(out)
}
