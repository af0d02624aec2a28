//! `Table` answers: the columns of a kind and the cells of its rows.
use jiff::Timestamp;
use serde_json::{Value, json};

/// The columns of one kind.
#[derive(Debug, Clone)]
pub struct Columns {}

impl Columns {
    /// The columns of a built-in kind; Name and Age for one without its own.
    pub fn builtin(group: &str, kind: &str) -> Self {
        let _ = (group, kind);
        Self {}
    }

    /// The columns of a CRD version, from its `additionalPrinterColumns` (null: Name and Age). A JSONPath that does not parse makes empty cells.
    pub fn from_crd(columns: &Value) -> Self {
        let _ = columns;
        Self {}
    }

    /// `columnDefinitions` of the Table.
    pub fn definitions(&self) -> Value {
        let _ = self;
        json!([])
    }

    /// `cells` of the row of one object.
    pub fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let _ = (self, object, now);
        Vec::new()
    }
}
