//! Files of `NAME=value` lines (`.env`, `env_file`), as docker compose and foreman read them.
use std::collections::{BTreeMap, BTreeSet};

use super::interpolate::replace;
use crate::Error as Refusal;

/// A line that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Error {
    line: usize,
    what: String,
}

impl Error {
    /// What is said of it; the file is the one that is called so.
    pub(super) fn of(&self, file: &str) -> Refusal {
        Refusal::Invalid(format!("{file}:{}: {}", self.line, self.what))
    }
}

/// The variables in the order written. With an environment, values may refer to it and to variables above them, as compose has it,
/// unless they stand in single quotes; without one a dollar sign is one, as foreman has it. A value in quotes may go over several lines.
pub(super) fn read(text: &str, environment: Option<&BTreeMap<String, String>>) -> Result<Vec<(String, String)>, Error> {
    let mut known = environment.cloned();
    let mut read = Vec::new();
    let mut lines = (1_usize..).zip(text.lines());
    while let Some((line, first)) = lines.next() {
        let failed = |what: String| Error { line, what };
        let entry = first.trim();
        if entry.is_empty() || entry.starts_with('#') {
            continue;
        }
        let entry = entry.strip_prefix("export ").unwrap_or(entry);
        let Some((name, value)) = entry.split_once('=') else {
            // A name alone is passed on from the environment.
            let given = environment.and_then(|environment| environment.get(entry));
            let value = given.ok_or_else(|| {
                failed(format!("{entry} has no value and is not in the environment: write {entry}=value, or leave it out"))
            })?;
            read.push((entry.to_owned(), value.clone()));
            continue;
        };
        let (name, mut value) = (name.trim(), value.trim_start().to_owned());
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(failed(format!("{entry:?} is no variable: write NAME=value")));
        }
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
        let value = match quote {
            None => value.split(" #").next().unwrap_or_default().trim_end().to_owned(),
            Some(quote) => loop {
                if let Some((inner, rest)) = inner(&value, quote) {
                    if !(rest.trim().is_empty() || rest.trim_start().starts_with('#')) {
                        return Err(failed(format!("{:?} stands behind the closing {quote} of {name}", rest.trim())));
                    }
                    break inner.to_owned();
                }
                let (_, more) = lines.next().ok_or_else(|| failed(format!("the {quote} of {name} is not closed")))?;
                value = format!("{value}\n{more}");
            },
        };
        let value = match (&mut known, quote) {
            (_, Some('\'')) => value,
            (None, quote) => {
                if quote.is_some() {
                    unescaped(&value)
                } else {
                    value
                }
            }
            (Some(known), quote) => {
                let text = if quote.is_some() { unescaped(&value) } else { value };
                let mut unset = BTreeSet::new();
                let value = replace(&text, known, &mut unset).map_err(failed)?;
                if let Some(first) = unset.first() {
                    return Err(failed(format!("{name} refers to {first}, which is not set: set it, or give a default: ${{{first}:-}}")));
                }
                value
            }
        };
        if let Some(known) = &mut known {
            known.entry(name.to_owned()).or_insert_with(|| value.clone());
        }
        read.push((name.to_owned(), value));
    }
    Ok(read)
}

/// What stands between the quotes, and behind them, if the second one is there.
fn inner(value: &str, quote: char) -> Option<(&str, &str)> {
    let (rest, mut escaped) = (value.get(1..)?, false);
    let end = rest.char_indices().find(|(_, c)| {
        let ends = *c == quote && !escaped;
        escaped = quote == '"' && *c == '\\' && !escaped;
        ends
    });
    let (end, _) = end?;
    Some((rest.get(..end)?, rest.get(end + quote.len_utf8()..)?))
}

/// Escapes of double quotes; `\$` is a dollar sign for [`replace`].
fn unescaped(text: &str) -> String {
    let (mut out, mut chars) = (String::with_capacity(text.len()), text.chars());
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some('r')) => out.push('\r'),
            ('\\', Some('t')) => out.push('\t'),
            ('\\', Some('$')) => out.push_str("$$"),
            ('\\', Some(c @ ('"' | '\\'))) => out.push(c),
            ('\\', Some(other)) => out.extend(['\\', other]),
            (c, _) => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str, environment: Option<&BTreeMap<String, String>>) -> Vec<(String, String)> {
        read(text, environment).unwrap()
    }

    #[test]
    fn quotes_and_comments_are_none_of_the_value() {
        let text = "# c\nA=1\nexport B = \"x y\" # z\nC='$q'\nD=a#b # c\nE=\"a\\\"b\\\\n\"\n";
        let read = pairs(text, None);
        let read: Vec<(&str, &str)> = read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(read, [("A", "1"), ("B", "x y"), ("C", "$q"), ("D", "a#b"), ("E", "a\"b\\n")]);
    }

    #[test]
    fn a_value_may_go_over_lines_and_refer_to_what_stands_above() {
        let environment = BTreeMap::from([("HOST".to_owned(), "db".to_owned())]);
        let text = "KEY=\"-----BEGIN\nabc\n-----END\"\nUSER=u\nURL=${USER}@$HOST/${NO:-x}\nRAW='$USER\n$$'\nPASS=\"a\\$b\"\nHOST\n";
        let read = pairs(text, Some(&environment));
        let read: Vec<(&str, &str)> = read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let wanted =
            [("KEY", "-----BEGIN\nabc\n-----END"), ("USER", "u"), ("URL", "u@db/x"), ("RAW", "$USER\n$$"), ("PASS", "a$b"), ("HOST", "db")];
        assert_eq!(read, wanted);
        assert_eq!(pairs("A=p$$w$B\n", None), [("A".to_owned(), "p$$w$B".to_owned())]);
    }

    #[test]
    fn what_cannot_be_read_is_told_by_line() {
        let environment = BTreeMap::from([("SELF".to_owned(), "outer".to_owned())]);
        for (text, line, said) in [
            ("A=1\nB=\"x\n", 2, "the \" of B is not closed"),
            ("=x\n", 1, "\"=x\" is no variable: write NAME=value"),
            ("A='x' y\n", 1, "\"y\" stands behind the closing ' of A"),
            ("\nALONE\n", 2, "ALONE has no value and is not in the environment: write ALONE=value, or leave it out"),
            ("A=$NO\n", 1, "A refers to NO, which is not set: set it, or give a default: ${NO:-}"),
            ("A=$A\n", 1, "A refers to A, which is not set: set it, or give a default: ${A:-}"),
        ] {
            assert_eq!(read(text, Some(&environment)).unwrap_err(), Error { line, what: said.to_owned() });
        }
        assert_eq!(pairs("SELF=$SELF/x\n", Some(&environment)), [("SELF".to_owned(), "outer/x".to_owned())]);
    }
}
