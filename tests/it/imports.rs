//! The import rule of `src/lib.rs`: a module uses only what stands to its left, and the router and the controllers never use each other.
use std::{collections::BTreeSet, path::Path};

use super::layout::sources;

/// From left to right; modules in one entry do not use each other.
const ORDER: [&[&str]; 8] =
    [&["kit"], &["api"], &["plan"], &["store", "backend"], &["apiserver", "coordination"], &["router"], &["controller"], &["cli"]];

/// Where a module stands in the order.
fn rank(module: &str) -> Option<usize> {
    ORDER.iter().position(|modules| modules.contains(&module))
}

/// Whether code in `from` may use `to`.
fn allowed(from: &str, to: &str) -> bool {
    let (Some(left), Some(right)) = (rank(to), rank(from)) else { return false };
    from == to || (left < right && (from, to) != ("controller", "router"))
}

/// The top-level modules that a text uses: `crate::x::…`, `crate::{x::…, y}` and `pub(in crate::x)`; comments are left out.
fn uses(text: &str) -> BTreeSet<String> {
    let code: String = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => found.extend(group_heads(group)),
            None => found.extend(head(rest)),
        }
    }
    found
}

fn head(path: &str) -> Option<String> {
    let name: String = path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty() && name.starts_with(|c: char| c.is_lowercase())).then_some(name)
}

/// The first names of `a::b, c::{d, e}, f}`.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut start) = (0, Vec::new(), 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                heads.extend(head(group[start..at].trim()));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                heads.extend(head(group[start..at].trim()));
                start = at + 1;
            }
            _ => {}
        }
    }
    heads
}

fn module_of(path: &Path) -> String {
    let first = path.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

#[test]
fn modules_import_from_left_to_right_only() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src").into_iter().filter(|(path, _)| !path.starts_with("bin") && !path.ends_with("lib.rs")) {
        let from = module_of(&path);
        wrong
            .extend(uses(&text).into_iter().filter(|to| !allowed(&from, to)).map(|to| format!("src/{}: uses crate::{to}", path.display())));
    }
    assert!(wrong.is_empty(), "the order is that of src/lib.rs:\n{}", wrong.join("\n"));
}

#[test]
fn every_top_level_module_has_its_place_in_the_order() {
    let modules: BTreeSet<String> =
        sources("src").iter().map(|(path, _)| module_of(path)).filter(|name| name != "bin" && name != "lib").collect();
    let ordered: BTreeSet<String> = ORDER.iter().flat_map(|modules| modules.iter().map(|name| (*name).to_owned())).collect();
    assert_eq!(modules, ordered);
}

#[test]
fn the_rule_sees_what_it_must() {
    let text = "use crate::{\n    api::{A, B},\n    kit,\n    plan::x::{y, z},\n};\n// crate::cli::no\nfn f() -> crate::store::Error { crate::Top }";
    assert_eq!(uses(text).into_iter().collect::<Vec<_>>(), ["api", "kit", "plan", "store"]);
    assert!(allowed("controller", "plan") && allowed("cli", "router") && allowed("store", "store"));
    for (from, to) in [
        ("controller", "router"),
        ("router", "controller"),
        ("store", "backend"),
        ("backend", "store"),
        ("api", "plan"),
        ("plan", "nowhere"),
    ] {
        assert!(!allowed(from, to), "{from} may not use {to}");
    }
}
