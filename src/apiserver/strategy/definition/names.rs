//! The names of a definition: which of those that it asks for are free in its group. What another definition has is not given away, so that
//! a name always means one resource.
use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{object, registry::CRDS};
use mesh_store::Store;

/// What the other definitions of a group have.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// Plurals, singulars and short names.
    resources: BTreeSet<String>,
    /// Kinds and kinds of lists.
    kinds: BTreeSet<String>,
}

impl Taken {
    pub(crate) fn beside(store: &Store, definition: &Value) -> Self {
        let mut taken = Self::default();
        for entry in store.list(CRDS, None).entries {
            let other = entry.value();
            if *entry.key.name != *object::name(definition) && other.pointer("/spec/group") == definition.pointer("/spec/group") {
                taken.add(other.pointer("/status/acceptedNames").unwrap_or(&Value::Null));
            }
        }
        taken
    }

    fn add(&mut self, names: &Value) {
        let text = |field: &str| texts(names.get(field));
        self.resources.extend(["plural", "singular", "shortNames"].into_iter().flat_map(text));
        self.kinds.extend(["kind", "listKind"].into_iter().flat_map(text));
    }
}

/// One name, or several.
fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// The names that a definition has from now on, and the first that it cannot have: a reason and a message.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) names: Value,
    pub(super) conflict: Option<(&'static str, String)>,
}

/// Accepts what is free; where something is not, the definition keeps what it had.
pub(super) fn accept(definition: &Value, before: Option<&Value>, taken: &Taken) -> Accepted {
    let mut names = definition.pointer("/spec/names").cloned().unwrap_or_default();
    let mut conflict = None;
    for (field, reason, others) in [
        ("plural", "PluralConflict", &taken.resources),
        ("singular", "SingularConflict", &taken.resources),
        ("shortNames", "ShortNamesConflict", &taken.resources),
        ("kind", "KindConflict", &taken.kinds),
        ("listKind", "ListKindConflict", &taken.kinds),
    ] {
        let clashes: Vec<_> =
            texts(names.get(field)).into_iter().filter(|name| others.contains(name)).map(|name| format!("{name:?}")).collect();
        if clashes.is_empty() {
            continue;
        }
        conflict.get_or_insert((reason, format!("{} is already in use", clashes.join(", "))));
        let had = before.and_then(|before| before.get(field)).cloned().unwrap_or_else(|| json!(""));
        object::map(&mut names).insert(field.to_owned(), had);
    }
    // An empty list of short names is none.
    if names.get("shortNames") == Some(&json!("")) {
        object::map(&mut names).remove("shortNames");
    }
    Accepted { names, conflict }
}
