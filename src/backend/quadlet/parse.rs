//! The one reader of unit files: into lines with their numbers ([`document`]), and into a [`Unit`] ([`unit`]).
//!
//! Written against podman-systemd.unit(5), systemd.syntax(7) and what 5.4.2 does, not against [`super::encode`], so that each judges the other.
//! Stricter than both: what they drop or cut silently is an error here.
use super::{
    encode::ODD_WORDS,
    keys::{Class, Key, Section},
    unit::Unit,
    value::Value,
};

/// What is wrong with a text, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct ParseError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

fn error<T>(line: usize, what: impl Into<String>) -> Result<T, ParseError> {
    Err(ParseError { line, what: what.into() })
}

/// One assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where it begins, counted from 1.
    pub number: usize,
    /// The section, as written.
    pub section: String,
    /// Before the first `=`.
    pub key: String,
    /// After it; continued lines are joined.
    pub value: String,
}

/// All assignments of a file, and its sections in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Document {
    /// The names of the sections, with the line where each begins.
    pub sections: Vec<(usize, String)>,
    /// The assignments.
    pub lines: Vec<Line>,
}

/// Splits a text into its assignments.
///
/// # Errors
/// The first line that is neither a comment nor a section nor an assignment, or that its two readers would split differently.
pub fn document(text: &str) -> Result<Document, ParseError> {
    let mut found = Document::default();
    for (number, line) in logical_lines(text)? {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            let Some(name) = name.strip_suffix(']').filter(|name| !name.is_empty() && !name.contains(['[', ']'])) else {
                return error(number, format!("{line:?} is no section: write for example [Container]"));
            };
            found.sections.push((number, name.to_owned()));
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            return error(number, format!("{line:?} has no '=': it is neither a comment nor a section nor KEY=VALUE"));
        };
        let Some((_, section)) = found.sections.last() else { return error(number, "an assignment stands before the first section") };
        let (section, key, value) = (section.clone(), key.trim_end().to_owned(), value.trim_start().to_owned());
        if key.is_empty() {
            return error(number, "there is no key before '='");
        }
        found.lines.push(Line { number, section, key, value });
    }
    Ok(found)
}

/// Trimmed lines, those that end with a backslash joined with the next.
fn logical_lines(text: &str) -> Result<Vec<(usize, String)>, ParseError> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut begun: Option<(usize, String)> = None;
    for (index, line) in text.strip_suffix('\n').unwrap_or(text).split('\n').enumerate() {
        let number = index + 1;
        if let Some(c) = line.chars().find(|c| c.is_ascii_control() && *c != '\t') {
            return error(number, format!("it contains the control character {c:?}, which ends the line for systemd or is lost"));
        }
        let line = line.trim();
        if begun.is_some() && (line.is_empty() || line.starts_with(['#', ';'])) {
            continue;
        }
        let (start, before) = begun.take().unwrap_or((number, String::new()));
        match line.strip_suffix('\\').filter(|_| !line.starts_with(['#', ';'])) {
            Some(part) => begun = Some((start, before + part)),
            None => lines.push((start, before + line)),
        }
    }
    match begun {
        Some((start, _)) => error(start, "the last line ends with a backslash: there is no next line to join it with"),
        None => Ok(lines),
    }
}

/// The unit in a text; for files made here and for the base templates.
///
/// # Errors
/// What [`document`] finds, a section or key that does not exist, or a value that is not of the key's class.
pub fn unit(text: &str) -> Result<Unit, ParseError> {
    let mut unit = Unit::default();
    for line in document(text)?.lines {
        let key = Section::of(&line.section).and_then(|section| Key::find(section, &line.key));
        let Some(key) = key else { return error(line.number, format!("[{}] has no key {:?}", line.section, line.key)) };
        for value in values(key, &line.value).or_else(|what| error(line.number, format!("{}: {what}", line.key)))? {
            unit.add_read(key, &line.key, value).or_else(|refused| error(line.number, refused.to_string()))?;
        }
    }
    Ok(unit)
}

/// The values that a line gives to a key.
///
/// # Errors
/// It is not of the key's class.
pub fn values(key: Key, text: &str) -> Result<Vec<Value>, String> {
    let text = text.trim_end();
    if text.is_empty() {
        return Err("an empty value takes away what stands before it".to_owned());
    }
    Ok(match key.class() {
        Class::Raw | Class::RawList => vec![Value::Text(literal(text, true)?)],
        Class::Setting | Class::SettingList => vec![Value::Text(literal(text, false)?)],
        Class::Number => vec![Value::Text(text.to_owned())],
        Class::Bool => vec![Value::Flag(boolean(text).ok_or_else(|| format!("{text:?} is neither true nor false"))?)],
        Class::Plainwords => vec![Value::Words(text.split_ascii_whitespace().map(ToOwned::to_owned).collect())],
        Class::Words | Class::Command => {
            let words = split(text)?.into_iter().map(|word| undo(&word));
            vec![Value::Words(words.collect::<Result<_, _>>()?)]
        }
        Class::Pairs => {
            let pairs = split(text)?.into_iter().map(|word| {
                let word = literal(&word, true)?;
                let (key, value) =
                    word.split_once('=').ok_or_else(|| format!("{word:?} has no '='; put quotes around values with spaces"))?;
                Ok::<_, String>(Value::Pair(key.to_owned(), value.to_owned()))
            });
            pairs.collect::<Result<_, _>>()?
        }
    })
}

/// A boolean as Quadlet means it; it takes every other word for false, which is why the others are errors here.
pub fn boolean(text: &str) -> Option<bool> {
    let is = |words: [&str; 4]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is(["1", "yes", "true", "on"]) {
        Some(true)
    } else if is(["0", "no", "false", "off"]) {
        Some(false)
    } else {
        None
    }
}

fn undo(word: &str) -> Result<String, String> {
    let odd = ODD_WORDS.iter().find(|odd| word.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) == Some(odd.variable));
    odd.map_or_else(|| literal(word, true), |odd| Ok(odd.word.to_owned()))
}

/// What systemd makes of `%%` and `$$`. A lone one stands for something else there.
fn literal(text: &str, dollars: bool) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '%' || (c == '$' && dollars) {
            let next = chars.next();
            if next != Some(c) {
                return Err(format!("{c}{} stands for something that systemd puts in its place; write {c}{c}", next.unwrap_or(' ')));
            }
        }
        out.push(c);
    }
    Ok(out)
}

/// Splits a line into words at white space; takes quotes away and undoes C escapes.
///
/// # Errors
/// A quote that is not closed, or an escape that does not exist.
pub fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', _) => word.get_or_insert_default().push(escape(&mut chars)?),
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (' ' | '\t' | '\n' | '\r', None) => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed".to_owned());
    }
    words.extend(word);
    Ok(words)
}

/// The character behind a backslash.
fn escape(chars: &mut std::str::Chars<'_>) -> Result<char, String> {
    let digits = |chars: &mut std::str::Chars<'_>, count: usize, radix: u32| {
        let text: String = chars.by_ref().take(count).collect();
        let code = if text.len() == count { u32::from_str_radix(&text, radix).ok() } else { None };
        code.filter(|code| *code != 0).and_then(char::from_u32).ok_or_else(|| format!("the escape \\{text} does not exist"))
    };
    match chars.next() {
        Some('a') => Ok('\u{7}'),
        Some('b') => Ok('\u{8}'),
        Some('f') => Ok('\u{c}'),
        Some('n') => Ok('\n'),
        Some('r') => Ok('\r'),
        Some('t') => Ok('\t'),
        Some('v') => Ok('\u{b}'),
        Some('s') => Ok(' '),
        Some(c @ ('\\' | '"' | '\'')) => Ok(c),
        Some('x') => digits(chars, 2, 16),
        Some('u') => digits(chars, 4, 16),
        Some('U') => digits(chars, 8, 16),
        Some(c) => Err(format!("the escape \\{c} does not exist")),
        None => Err("the value ends with a backslash".to_owned()),
    }
}
