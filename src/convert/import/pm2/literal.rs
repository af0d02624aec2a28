//! The literal of an ecosystem file: JSON with comments, bare keys, single quotes and trailing commas, as people write it in JavaScript.
//! Code in it is not run: it is told with its line.
use std::collections::HashMap;

use serde_json::{Map, Number, Value};

use crate::lines::Lines;

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Literal {
    pub(super) value: Value,
    pub(super) lines: Lines,
    /// Code in place of values: path and text. The value there is null.
    pub(super) code: Vec<(String, String)>,
    /// Statements before the literal: line and text.
    pub(super) statements: Vec<(u64, String)>,
}

/// Reads a file's text.
///
/// # Errors
/// The line, and what is wrong there.
pub(super) fn read(text: &str) -> Result<Literal, (u64, String)> {
    let mut reader = Reader { text, at: 0, fields: HashMap::new(), code: Vec::new() };
    let statements = reader.find_literal()?;
    let value = reader.value("")?;
    let Reader { fields, code, .. } = reader;
    Ok(Literal { value, lines: Lines::of_fields(fields), code, statements })
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    fields: HashMap<String, u64>,
    code: Vec<(String, String)>,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn line(&self) -> u64 {
        let before = self.text.get(..self.at).unwrap_or(self.text);
        before.matches('\n').count() as u64 + 1
    }

    fn error<T>(&self, what: impl Into<String>) -> Result<T, (u64, String)> {
        Err((self.line(), what.into()))
    }

    /// Blanks and comments.
    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            let comment = if trimmed.starts_with("//") {
                trimmed.find('\n').unwrap_or(trimmed.len())
            } else if trimmed.starts_with("/*") {
                trimmed.find("*/").map_or(trimmed.len(), |end| end + 2)
            } else {
                return;
            };
            self.at += comment;
        }
    }

    fn next_if(&mut self, c: char) -> bool {
        self.skip();
        let there = self.rest().starts_with(c);
        if there {
            self.at += c.len_utf8();
        }
        there
    }

    /// Goes to what follows `module.exports =` or `export default`; the statements before it.
    fn find_literal(&mut self) -> Result<Vec<(u64, String)>, (u64, String)> {
        let mut statements = Vec::new();
        loop {
            self.skip();
            let rest = self.rest();
            if rest.is_empty() {
                return self.error("there is no module.exports = { apps: [ … ] } in it");
            }
            if rest.starts_with('{') || rest.starts_with('[') {
                return Ok(statements);
            }
            if let Some(after) = rest.strip_prefix("module.exports").map(str::trim_start).and_then(|rest| rest.strip_prefix('=')) {
                self.at = self.text.len() - after.len();
                return Ok(statements);
            }
            if let Some(after) = rest.strip_prefix("export default") {
                self.at = self.text.len() - after.len();
                return Ok(statements);
            }
            let line = self.line();
            let text = self.raw(&[';', '\n']);
            self.next_if(';');
            if !matches!(text.trim_matches(['"', '\'']), "use strict" | "") {
                statements.push((line, text));
            }
        }
    }

    fn value(&mut self, path: &str) -> Result<Value, (u64, String)> {
        self.skip();
        let line = self.line();
        self.fields.entry(path.to_owned()).or_insert(line);
        let start = self.at;
        let value = match self.rest().chars().next() {
            None => return self.error("it ends in the middle of a value"),
            Some('{') => return self.object(path),
            Some('[') => return self.list(path),
            Some(quote @ ('"' | '\'' | '`')) => self.string(quote)?,
            Some(_) => self.bare(),
        };
        self.skip();
        // `'a' + b`, `process.env.X || 3000`, `f(x)`: code, told as it stands.
        let goes_on = self.rest().starts_with(|c: char| "|&+-*/?.([<>=!%`".contains(c));
        if goes_on || value.is_none() {
            self.at = start;
            let code = self.raw(&[',', '}', ']', ';']);
            self.code.push((path.to_owned(), code));
            return Ok(Value::Null);
        }
        Ok(value.unwrap_or_default())
    }

    fn object(&mut self, path: &str) -> Result<Value, (u64, String)> {
        let mut map = Map::new();
        self.at += 1;
        loop {
            if self.next_if('}') {
                return Ok(Value::Object(map));
            }
            let line = self.line();
            if self.rest().starts_with("...") {
                let code = self.raw(&[',', '}']);
                self.code.push((path.to_owned(), code));
                self.next_if(',');
                continue;
            }
            let key = match self.rest().chars().next() {
                Some(quote @ ('"' | '\'')) => self.string(quote)?.and_then(|key| key.as_str().map(str::to_owned)).unwrap_or_default(),
                _ => self.name(),
            };
            if key.is_empty() {
                return self.error("a key is expected here");
            }
            let field = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            self.fields.insert(field.clone(), line);
            if self.next_if(':') {
                let value = self.value(&field)?;
                map.insert(key, value);
            } else {
                // `{ name }` and `f() { … }` are code.
                let code = self.raw(&[',', '}']);
                self.code.push((field, format!("{key}{code}")));
            }
            if !self.next_if(',') && !self.rest().starts_with('}') {
                return self.error("a comma or } is expected here");
            }
        }
    }

    fn list(&mut self, path: &str) -> Result<Value, (u64, String)> {
        let mut list = Vec::new();
        self.at += 1;
        loop {
            if self.next_if(']') {
                return Ok(Value::Array(list));
            }
            let value = self.value(&format!("{path}[{}]", list.len()))?;
            list.push(value);
            if !self.next_if(',') && !self.rest().starts_with(']') {
                return self.error("a comma or ] is expected here");
            }
        }
    }

    fn name(&mut self) -> String {
        let rest = self.rest();
        let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default().to_owned()
    }

    /// A string; none for a template with code in it.
    fn string(&mut self, quote: char) -> Result<Option<Value>, (u64, String)> {
        let (mut out, mut chars, mut code) = (String::new(), self.rest().char_indices().skip(1), false);
        loop {
            match chars.next() {
                None => return self.error(format!("a {quote} is not closed")),
                Some((at, c)) if c == quote => {
                    self.at += at + c.len_utf8();
                    return Ok((!code).then_some(Value::String(out)));
                }
                Some((_, '\n')) if quote != '`' => return self.error(format!("a {quote} is not closed")),
                Some((at, '$')) if quote == '`' && self.rest().get(at + 1..).is_some_and(|rest| rest.starts_with('{')) => code = true,
                Some((_, '\\')) => match chars.next() {
                    Some((_, 'n')) => out.push('\n'),
                    Some((_, 't')) => out.push('\t'),
                    Some((_, 'u')) => {
                        let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                        out.extend(u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32));
                    }
                    Some((_, '\n')) | None => {}
                    Some((_, c)) => out.push(c),
                },
                Some((_, c)) => out.push(c),
            }
        }
    }

    /// A number, a word like true, or nothing of the kind.
    fn bare(&mut self) -> Option<Value> {
        let rest = self.rest();
        let length = rest.find(|c: char| !(c.is_alphanumeric() || "_$.+-".contains(c))).unwrap_or(rest.len());
        let text = rest.get(..length).unwrap_or_default();
        self.at += length;
        match text {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            "null" | "undefined" => Some(Value::Null),
            text => {
                let plain = text.replace('_', "");
                plain
                    .parse::<i64>()
                    .map(Number::from)
                    .ok()
                    .or_else(|| plain.parse::<f64>().ok().and_then(Number::from_f64))
                    .map(Value::Number)
            }
        }
    }

    /// Text up to one of these, outside of brackets and quotes.
    #[expect(clippy::match_same_arms, reason = "what is in quotes and what is plain are two things")]
    fn raw(&mut self, ends: &[char]) -> String {
        let (rest, mut depth, mut quote, mut escaped) = (self.rest(), 0_usize, None, false);
        let mut length = rest.len();
        for (at, c) in rest.char_indices() {
            match (quote, c) {
                _ if escaped => escaped = false,
                (Some(_), '\\') => escaped = true,
                (Some(open), c) if c == open => quote = None,
                (Some(_), _) => {}
                (None, '"' | '\'' | '`') => quote = Some(c),
                (None, c) if depth == 0 && ends.contains(&c) => {
                    length = at;
                    break;
                }
                (None, '(' | '[' | '{') => depth += 1,
                (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
                (None, _) => {}
            }
        }
        self.at += length;
        let words: Vec<&str> = rest.get(..length).unwrap_or_default().split_whitespace().collect();
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_literal_is_read_as_people_write_it() {
        let text = "// c\nconst path = require('path');\n'use strict';\nmodule.exports = {\n  apps: [{\n    name: 'a', /* b */ \"script\": \"x.js\",\n    instances: -1, ratio: 1.5, watch: false,\n    args: ['--a', `b`,],\n    cwd: path.join(__dirname, 'x'),\n    env: { PORT: process.env.PORT || 3000, 'A-B': 'it\\'s', ...base },\n  }],\n};\n";
        let read = read(text).unwrap();
        let value = json!({"apps": [{"name": "a", "script": "x.js", "instances": -1, "ratio": 1.5, "watch": false, "args": ["--a", "b"], "cwd": null, "env": {"PORT": null, "A-B": "it's"}}]});
        assert_eq!(read.value, value);
        let code: Vec<(&str, &str)> = read.code.iter().map(|(path, code)| (path.as_str(), code.as_str())).collect();
        assert_eq!(
            code,
            [("apps[0].cwd", "path.join(__dirname, 'x')"), ("apps[0].env.PORT", "process.env.PORT || 3000"), ("apps[0].env", "...base")]
        );
        assert_eq!(read.statements, [(2, "const path = require('path')".to_owned())]);
        assert_eq!([read.lines.of("apps[0].name"), read.lines.of("apps[0].env.PORT")], [6, 10]);
    }

    #[test]
    fn what_cannot_be_read_is_told_by_line() {
        assert_eq!(read("module.exports = {\n a: 'x\n}").unwrap_err(), (2, "a ' is not closed".to_owned()));
        assert_eq!(read("const a = 1\n").unwrap_err().1, "there is no module.exports = { apps: [ … ] } in it");
        assert_eq!(read("module.exports = {\n a: 1\n b: 2 }").unwrap_err().0, 3);
    }
}
