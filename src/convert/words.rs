//! Command lines cut into words by the rules of POSIX shells for quotes and backslashes, and words quoted for them. What needs a shell is told apart,
//! never guessed.

/// A command line in words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    /// Without their quotes.
    pub words: Vec<String>,
    /// What stands in it, outside of quotes that hide it, that only a shell understands: `&&`, `|`, `$X`, `*`.
    pub shell: Option<String>,
    /// Variables that it names outside of single quotes.
    pub variables: Vec<String>,
}

/// Cuts a line.
///
/// # Errors
/// A quote that is not closed.
pub fn split(text: &str) -> Result<Line, String> {
    let (mut line, mut word, mut chars) = (Line::default(), None::<String>, text.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '\'' => loop {
                match chars.next().ok_or("a ' is not closed")? {
                    '\'' => break word.get_or_insert_default().push_str(""),
                    c => word.get_or_insert_default().push(c),
                }
            },
            '"' => double(&mut chars, word.get_or_insert_default(), &mut line)?,
            '\\' => match chars.next() {
                Some('\n') | None => {}
                Some(c) => word.get_or_insert_default().push(c),
            },
            c if c.is_whitespace() => line.words.extend(word.take()),
            '#' if word.is_none() => {
                line.shell.get_or_insert_with(|| "#".to_owned());
                word.get_or_insert_default().push('#');
            }
            c => {
                look(c, &mut chars.clone(), &mut line);
                word.get_or_insert_default().push(c);
            }
        }
    }
    line.words.extend(word);
    Ok(line)
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn double(chars: &mut Chars<'_>, word: &mut String, line: &mut Line) -> Result<(), String> {
    loop {
        match chars.next().ok_or("a \" is not closed")? {
            '"' => return Ok(()),
            '\\' => match chars.next() {
                Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                Some('\n') | None => {}
                Some(c) => word.extend(['\\', c]),
            },
            c => {
                if matches!(c, '$' | '`') {
                    look(c, &mut chars.clone(), line);
                }
                word.push(c);
            }
        }
    }
}

/// Notes what a shell would act upon.
fn look(c: char, ahead: &mut Chars<'_>, line: &mut Line) {
    match c {
        '&' | '|' | ';' | '<' | '>' | '(' | ')' | '`' | '*' | '?' | '[' => {
            let twice = ahead.peek() == Some(&c) && matches!(c, '&' | '|' | '<' | '>');
            line.shell.get_or_insert_with(|| if twice { format!("{c}{c}") } else { c.to_string() });
        }
        '$' => {
            let braced = ahead.next_if_eq(&'{').is_some();
            let name: String = std::iter::from_fn(|| ahead.next_if(|c| c.is_ascii_alphanumeric() || *c == '_')).collect();
            let plain = !name.is_empty() && (!braced || ahead.peek() == Some(&'}'));
            if plain {
                line.variables.push(name);
            } else if braced || matches!(ahead.peek(), Some('(' | '@' | '*' | '#' | '$' | '!' | '?' | '-')) {
                line.shell.get_or_insert_with(|| "${…}".to_owned());
            }
        }
        _ => {}
    }
}

/// A word as a shell reads it back.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./:=,@+-".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_as_a_shell_does_without_running_one() {
        for (text, words) in [
            ("node  server.js", vec!["node", "server.js"]),
            ("bash -c 'a && b'", vec!["bash", "-c", "a && b"]),
            (r#"x "a b"c \d '' "q\"q""#, vec!["x", "a bc", "d", "", "q\"q"]),
            ("a\tb\nc", vec!["a", "b", "c"]),
            ("", vec![]),
        ] {
            assert_eq!(split(text).unwrap().words, words, "{text}");
        }
        assert_eq!(split("a 'b").unwrap_err(), "a ' is not closed");
    }

    #[test]
    fn what_needs_a_shell_is_seen_and_what_is_quoted_is_not() {
        for (text, shell) in
            [("a && b", Some("&&")), ("a > f", Some(">")), ("a 'x|y' \"z;\"", None), ("a \"`b`\"", Some("`")), ("a ${B:-c}", Some("${…}"))]
        {
            assert_eq!(split(text).unwrap().shell.as_deref(), shell, "{text}");
        }
        assert_eq!(split("a -p $PORT \"${HOST}\" '$NO'").unwrap().variables, ["PORT", "HOST"]);
    }
}
