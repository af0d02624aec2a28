//! `Table` answers: the columns of a kind and the cells of its rows.
//!
//! Built-in kinds have the columns that kubectl's users know ([`builtin`]); a CRD brings its own `additionalPrinterColumns`.
use jiff::Timestamp;
use serde_json::{Value, json};

mod builtin;
mod human;
mod json_path;

use json_path::Path;

/// The columns of one kind.
#[derive(Debug, Clone)]
pub struct Columns(Vec<Column>);

#[derive(Debug, Clone)]
struct Column {
    name: String,
    kind: String,
    format: String,
    description: String,
    /// Above 0 it shows with `-o wide` only.
    priority: i64,
    cell: Cell,
}

#[derive(Debug, Clone)]
enum Cell {
    /// Of a CRD; `None` if the path does not parse.
    Path(Option<Path>),
    /// Of a built-in kind.
    Function(fn(&Value, Timestamp) -> Value),
}

impl Columns {
    /// The columns of a built-in kind; Name and Age for one without its own.
    pub fn builtin(group: &str, kind: &str) -> Self {
        Self(builtin::columns(group, kind))
    }

    /// The columns of a CRD version, from its `additionalPrinterColumns` (null: Name and Age). A `JSONPath` that does not parse makes empty cells.
    pub fn from_crd(columns: &Value) -> Self {
        let own: Vec<Column> = columns.as_array().into_iter().flatten().map(read_column).collect();
        if own.is_empty() {
            return Self(vec![name_column(), age_column()]);
        }
        Self(std::iter::once(name_column()).chain(own).collect())
    }

    /// The columns of a `Scale`, of whatever kind the object behind it is.
    pub fn scale() -> Self {
        Self::builtin("autoscaling", "Scale")
    }

    /// `columnDefinitions` of the Table.
    pub fn definitions(&self) -> Value {
        let definition = |column: &Column| {
            json!({
                "name": column.name,
                "type": column.kind,
                "format": column.format,
                "description": column.description,
                "priority": column.priority,
            })
        };
        self.0.iter().map(definition).collect()
    }

    /// `cells` of the row of one object.
    pub fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        self.0.iter().map(|column| column.cell(object, now)).collect()
    }
}

impl Column {
    fn cell(&self, object: &Value, now: Timestamp) -> Value {
        match &self.cell {
            Cell::Function(cell) => cell(object, now),
            Cell::Path(path) => match path.as_ref().and_then(|path| path.find(object).into_iter().next()) {
                Some(value) => shown_as(&self.kind, value, now),
                None => Value::Null,
            },
        }
    }
}

/// A value in a column of a type; null where it does not fit.
fn shown_as(kind: &str, value: &Value, now: Timestamp) -> Value {
    match (kind, value) {
        (_, Value::Null) => Value::Null,
        #[expect(clippy::cast_possible_truncation, reason = "an integer column cuts the fraction off")]
        ("integer", Value::Number(number)) => number.as_i64().or_else(|| number.as_f64().map(|float| float as i64)).into(),
        ("string", Value::String(_)) | ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
        ("string", other) => Value::String(other.to_string()),
        ("date", Value::String(time)) => Value::String(human::since(Some(time), now)),
        _ => Value::Null,
    }
}

fn read_column(column: &Value) -> Column {
    let text = |key: &str| column.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    Column {
        name: text("name"),
        kind: text("type"),
        format: text("format"),
        description: text("description"),
        priority: column.get("priority").and_then(Value::as_i64).unwrap_or_default(),
        cell: Cell::Path(Path::parse(&text("jsonPath"))),
    }
}

fn name_column() -> Column {
    Column {
        name: "Name".to_owned(),
        kind: "string".to_owned(),
        format: "name".to_owned(),
        description: "The object's name, unique within its namespace and kind.".to_owned(),
        priority: 0,
        cell: Cell::Function(|object, _| object.pointer("/metadata/name").cloned().unwrap_or_default()),
    }
}

fn age_column() -> Column {
    Column {
        name: "Age".to_owned(),
        kind: "date".to_owned(),
        format: String::new(),
        description: "The time since the object was created.".to_owned(),
        priority: 0,
        cell: Cell::Path(Path::parse(".metadata.creationTimestamp")),
    }
}

#[cfg(test)]
mod tests;
