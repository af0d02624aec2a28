//! The import rule of `src/lib.rs`: a crate uses only what stands to its left, and the router and the controllers never use each other. That there is
//! no circle the compiler sees; the order is read from the manifests. Within a crate the compiler allows circles of files; [`circles`] does not.
mod circles;
mod modules;

use std::{collections::BTreeSet, path::Path};

/// From left to right; crates in one entry do not use each other.
const ORDER: [&[&str]; 9] = [
    &["base"],
    &["kit", "shim"],
    &["api"],
    &["plan"],
    &["store", "backend"],
    &["apiserver", "coordination"],
    &["router", "convert", "agent"],
    &["controller"],
    &["cli"],
];

/// Where a crate's folder stands in the order.
fn rank(folder: &str) -> Option<usize> {
    ORDER.iter().position(|folders| folders.contains(&folder))
}

/// Whether the crate in folder `from` may use the one in `to`.
fn allowed(from: &str, to: &str) -> bool {
    let (Some(left), Some(right)) = (rank(to), rank(from)) else { return false };
    left < right && (from, to) != ("controller", "router")
}

/// The folder of a crate of ours, by its name: `mesh-controllers` stands in `controller`, because the whole is called mesh-controller.
fn folder(name: &str) -> Option<&str> {
    // The SDK stands outside: it is for programs of others, and uses none of ours.
    let name = name.strip_prefix("mesh-").filter(|name| *name != "controller-sdk")?;
    Some(if name == "controllers" { "controller" } else { name })
}

/// The folders of the crates that a manifest names under `[dependencies]`; what tests use is free.
fn uses(manifest: &str) -> BTreeSet<String> {
    let lines = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1).take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| line.split(['.', ' ', '=']).next().and_then(folder)).map(ToOwned::to_owned).collect()
}

fn crates() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let folders = std::fs::read_dir(src).unwrap().map(|entry| entry.unwrap().path());
    let manifest = |folder: std::path::PathBuf| {
        let text = std::fs::read_to_string(folder.join("Cargo.toml")).ok()?;
        Some((folder.file_name().unwrap().to_str().unwrap().to_owned(), text))
    };
    folders.filter_map(manifest).collect()
}

#[test]
fn crates_use_each_other_from_left_to_right_only() {
    let mut wrong = Vec::new();
    for (from, manifest) in crates() {
        wrong.extend(uses(&manifest).into_iter().filter(|to| !allowed(&from, to)).map(|to| format!("src/{from} uses src/{to}")));
    }
    assert!(wrong.is_empty(), "the order is that of src/lib.rs:\n{}", wrong.join("\n"));
}

#[test]
fn every_crate_has_its_place_in_the_order() {
    let found: BTreeSet<String> = crates().into_iter().map(|(folder, _)| folder).collect();
    let ordered: BTreeSet<String> = ORDER.iter().flat_map(|folders| folders.iter().map(|name| (*name).to_owned())).collect();
    assert_eq!(found, ordered);
}

#[test]
fn the_rule_sees_what_it_must() {
    let text = "[package]\nname = \"mesh-x\"\n\n[dependencies]\nmesh-api.workspace = true\nmesh-kit = { workspace = true }\nmesh-controllers.workspace = true\nserde.workspace = true\n\n[dev-dependencies]\nmesh-cli.workspace = true\n";
    assert_eq!(uses(text).into_iter().collect::<Vec<_>>(), ["api", "controller", "kit"]);
    assert!(allowed("controller", "plan") && allowed("cli", "router") && allowed("cli", "controller"));
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
