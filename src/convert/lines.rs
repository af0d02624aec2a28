//! On which line of a YAML text each field stands, so that an answer of the API can be told by line.
use std::collections::HashMap;

use serde_saphyr::granit_parser::{Event, Parser};

/// The lines of one document's fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines {
    start: u64,
    /// By path as the API writes it: `spec.routes[0].path`.
    fields: HashMap<String, u64>,
}

/// A mapping or sequence that is being read.
enum Open {
    /// The path of the mapping, and that of the value to come if its key has been read.
    Mapping(String, Option<String>),
    /// The path of the sequence, and the index to come.
    Sequence(String, usize),
}

impl Lines {
    /// Those of every document of a text that is not empty.
    ///
    /// # Errors
    /// The line and the text of a syntax error.
    pub fn of_documents(text: &str) -> Result<Vec<Self>, (u64, String)> {
        let (mut documents, mut reader) = (Vec::new(), Reader::default());
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| (error.marker().line() as u64, error.to_string()))?;
            match event {
                Event::DocumentStart(..) => reader = Reader::default(),
                Event::DocumentEnd if !reader.empty => documents.push(std::mem::take(&mut reader).lines),
                event => reader.take(&event, span.start.line() as u64),
            }
        }
        Ok(documents)
    }

    /// Those of a text that another reader has read.
    pub(crate) fn of_fields(fields: HashMap<String, u64>) -> Self {
        Self { start: fields.values().copied().min().unwrap_or(1), fields }
    }

    /// The line of the document's first field.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The line of a field; of the nearest one around it if it is not there; of the document if there is none.
    pub fn of(&self, field: &str) -> u64 {
        let mut path = field;
        loop {
            if let Some(line) = self.fields.get(path) {
                return *line;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = path.get(..end).unwrap_or_default(),
                None => return self.start,
            }
        }
    }

    /// The line of the first field that a message names in quotes: `unknown field "spec.foo"`.
    pub fn find_named(&self, message: &str) -> Option<u64> {
        message.split('"').find_map(|word| self.fields.get(word)).copied()
    }
}

/// Folds the events of one document.
struct Reader {
    lines: Lines,
    open: Vec<Open>,
    empty: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self { lines: Lines::default(), open: Vec::new(), empty: true }
    }
}

impl Reader {
    fn take(&mut self, event: &Event<'_>, line: u64) {
        match event {
            Event::MappingStart(..) => {
                let path = self.node(line);
                self.open.push(Open::Mapping(path, None));
            }
            Event::SequenceStart(..) => {
                let path = self.node(line);
                self.open.push(Open::Sequence(path, 0));
            }
            Event::MappingEnd | Event::SequenceEnd => drop(self.open.pop()),
            Event::Scalar(value, ..) => self.scalar(value, line),
            Event::Alias(..) => drop(self.node(line)),
            // Comments, and the borders of the stream.
            _ => {}
        }
    }

    /// A scalar is a key where a mapping waits for one, and a value otherwise.
    fn scalar(&mut self, value: &str, line: u64) {
        if let Some(Open::Mapping(path, next @ None)) = self.open.last_mut() {
            let field = if path.is_empty() { value.to_owned() } else { format!("{path}.{value}") };
            self.lines.fields.insert(field.clone(), line);
            *next = Some(field);
        } else if !(self.open.is_empty() && matches!(value, "" | "~" | "null")) {
            self.node(line);
        }
    }

    /// A value begins here: its path. Its line is known already if it has a key.
    fn node(&mut self, line: u64) -> String {
        if self.empty {
            (self.empty, self.lines.start) = (false, line);
        }
        match self.open.last_mut() {
            None => String::new(),
            Some(Open::Mapping(path, next)) => next.take().unwrap_or_else(|| path.clone()),
            Some(Open::Sequence(path, index)) => {
                let path = format!("{path}[{index}]");
                *index += 1;
                self.lines.fields.insert(path.clone(), line);
                path
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_the_path_that_the_api_uses() {
        let text = "a: 1\nspec:\n  routes:\n  - path: /x\n    hostnames: [h,\n      i]\n  - {path: /y}\n  port: 1\n";
        let lines = &Lines::of_documents(text).unwrap()[0];
        let found = ["a", "spec.routes", "spec.routes[0].path", "spec.routes[0].hostnames[1]", "spec.routes[1].path", "spec.port"]
            .map(|path| lines.of(path));
        assert_eq!(found, [1, 3, 4, 6, 7, 8]);
    }

    #[test]
    fn a_field_that_is_not_there_is_told_by_the_nearest_one_around_it() {
        let lines = &Lines::of_documents("\n\nspec:\n  port: 1\n").unwrap()[0];
        assert_eq!(["spec.drain.timeout", "status", "", "spec.port.x[3]"].map(|path| lines.of(path)), [3, 3, 3, 4]);
    }

    #[test]
    fn empty_documents_are_left_out() {
        let starts: Vec<u64> =
            Lines::of_documents("---\n# nothing\n---\na: 1\n---\n~\n---\nb: 2\n").unwrap().iter().map(Lines::start).collect();
        assert_eq!(starts, [4, 8]);
    }
}
