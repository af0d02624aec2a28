//! Known advisories against what Cargo.lock names, from a snapshot of the RustSec database (tests/advisories.tsv), where no network is.
//! `cargo deny check advisories` asks the database itself; CI does that too.
use std::collections::BTreeSet;

use mesh_gear::program::file;
use semver::{Version, VersionReq};

/// One advisory: the crate, its number, and the versions that do not have the fault; none if nobody will mend it.
struct Advisory {
    name: String,
    id: String,
    good: Vec<VersionReq>,
}

/// Lines of crate, number and versions (`>=1.2.3 | >=1.1.9, <1.2`), by tabs; `-` for none.
fn snapshot(text: &str) -> Vec<Advisory> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let read = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, id, good] = fields[..] else { panic!("not three fields: {line}") };
        let good = good.split('|').map(str::trim).filter(|versions| *versions != "-");
        let good = good.map(|versions| VersionReq::parse(versions).unwrap_or_else(|error| panic!("{line}: {error}"))).collect();
        Advisory { name: name.to_owned(), id: id.to_owned(), good }
    };
    lines.map(read).collect()
}

/// Names and versions in a lock file.
fn locked(text: &str) -> BTreeSet<(String, Version)> {
    let value = |line: Option<&str>, key: &str| Some(line?.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"')?.to_owned());
    let package = |part: &str| {
        let mut lines = part.trim_start().lines();
        Some((value(lines.next(), "name")?, Version::parse(&value(lines.next(), "version")?).ok()?))
    };
    text.split("[[package]]").filter_map(package).collect()
}

fn found(lock: &str, snapshot: &[Advisory]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, version) in locked(lock) {
        let against = snapshot.iter().filter(|advisory| advisory.name == name && !advisory.good.iter().any(|good| good.matches(&version)));
        found.extend(against.map(|advisory| format!("{name} {version}: https://rustsec.org/advisories/{}", advisory.id)));
    }
    found
}

#[test]
fn nothing_that_is_locked_has_a_known_advisory() {
    let read = |path: &str| std::fs::read_to_string(file(path)).unwrap();
    let advisories = snapshot(&read("tests/advisories.tsv"));
    assert!(advisories.len() > 20, "the snapshot has {} advisories only", advisories.len());
    let found = found(&read("Cargo.lock"), &advisories);
    assert!(found.is_empty(), "update these:\n{}", found.join("\n"));
}

#[test]
fn a_version_that_an_advisory_names_is_found_and_a_mended_one_is_not() {
    let advisories = snapshot("# crate\tid\tgood\nsmallvec\tRUSTSEC-2021-0003\t>=0.6.14, <1.0.0 | >=1.6.1\natty\tRUSTSEC-2024-0375\t-\n");
    let lock =
        |name: &str, version: &str| format!("version = 4\n\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"x\"\n");
    for (name, version, bad) in [
        ("smallvec", "1.6.0", true),
        ("smallvec", "0.6.14", false),
        ("smallvec", "1.15.1", false),
        ("atty", "0.2.14", true),
        ("other", "1.0.0", false),
    ] {
        assert_eq!(!found(&lock(name, version), &advisories).is_empty(), bad, "{name} {version}");
    }
}
