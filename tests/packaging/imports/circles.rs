//! Within a crate a file imports only what stands below it, so that it can be read without those above: there is no circle of files.
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use super::{
    crates,
    modules::{Imports, imports},
};
use crate::layout::sources;

/// The files that each reach each other by their imports: the strongly connected components.
fn circles(imports: &Imports) -> BTreeSet<BTreeSet<&str>> {
    let files: BTreeSet<&str> = imports.keys().map(|(from, _)| from.as_str()).collect();
    let below: BTreeMap<&str, BTreeSet<&str>> = files.into_iter().map(|file| (file, reached(imports, file))).collect();
    let is_below = |file: &str, other: &str| below.get(other).is_some_and(|below| below.contains(file));
    let circle = |file| below[file].iter().copied().filter(|other| is_below(file, other)).collect();
    below.keys().copied().map(circle).filter(|circle: &BTreeSet<&str>| !circle.is_empty()).collect()
}

/// What a file imports, and what that imports, and so on.
fn reached<'a>(imports: &'a Imports, file: &'a str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut next = vec![file];
    while let Some(file) = next.pop() {
        let imported = imports.keys().filter(|(from, _)| from == file).map(|(_, to)| to.as_str());
        next.extend(imported.filter(|to| found.insert(*to)));
    }
    found
}

/// A circle, and what ties it.
fn told(folder: &str, circle: &BTreeSet<&str>, imports: &Imports) -> String {
    let files: Vec<&str> = circle.iter().copied().collect();
    let mut text = format!("src/{folder}: {}\n", files.join(", "));
    for ((from, to), path) in imports {
        if circle.contains(from.as_str()) && circle.contains(to.as_str()) {
            writeln!(text, "    {from} -> {to}: {path}").unwrap();
        }
    }
    text
}

#[test]
fn files_of_one_crate_do_not_import_each_other_in_a_circle() {
    let mut found = String::new();
    for (folder, _) in crates() {
        let imports = imports(&sources(&format!("src/{folder}")));
        found.extend(circles(&imports).iter().map(|circle| told(&folder, circle, &imports)));
    }
    assert!(found.is_empty(), "these files import each other; move what both need below them:\n{found}");
}

/// The imports of a crate that is made up.
fn made_up(files: &[(&str, &str)]) -> Imports {
    imports(&files.iter().map(|(path, text)| (path.into(), (*text).to_owned())).collect::<Vec<_>>())
}

#[test]
fn an_import_is_seen_however_it_is_written_and_followed_to_the_file_that_defines_it() {
    let rest = [
        ("lib.rs", "mod reader; mod text; pub mod wire; pub use self::wire::frame::{self, Frame as Framed}; pub fn root() {}"),
        ("text.rs", "pub fn text() {} pub mod inner { pub struct Inner; }"),
        ("wire.rs", "pub mod frame; pub use frame::parse as read; pub struct Wire; pub fn frame() {}"),
        ("wire/frame.rs", "pub struct Frame; pub fn parse() {}"),
    ];
    for (text, expected) in [
        ("use crate::text::text;", &["text.rs"][..]),
        ("use super::{text::inner::Inner, wire::{self, Wire}};", &["text.rs", "wire.rs"]),
        ("use super::root;", &["lib.rs"]),
        ("use super::Framed;", &["wire/frame.rs"]),
        ("use crate::wire::read;", &["wire/frame.rs"]),
        ("use crate::wire::frame;", &["wire.rs"]),
        ("use super::text; fn f() { text::text() }", &["text.rs"]),
        ("use super::text as words; fn f() { words::text() }", &["text.rs"]),
        ("fn f() { use super::wire; wire::read() }", &["wire/frame.rs"]),
        ("fn f() { crate::frame::parse() }", &["wire/frame.rs"]),
        ("fn f() -> Vec<super::wire::Wire> { vec![] }", &["wire.rs"]),
        ("fn f() { print!(\"{}\", [super::text::text()]) }", &["text.rs"]),
        ("#[derive(crate::text::Derived)] struct S;", &["text.rs"]),
        ("mod own { use super::super::text::text; }", &["text.rs"]),
        // None of them takes anything.
        ("use super::text;", &[]),
        ("use text::text; use ::wire::Wire; fn f() { ::text::text(); print!(\"{}\", ::text::text()) }", &[]),
        ("fn f() { self::g(); std::mem::drop(1) } fn g() {}", &[]),
        ("#[cfg(test)] use super::root; #[cfg(test)] mod tests { use super::super::root; }", &[]),
        ("struct S; impl S { #[cfg(test)] fn f() { crate::root() } }", &[]),
    ] {
        let imports = made_up(&[&rest[..], &[("reader.rs", text)]].concat());
        let found: Vec<&str> = imports.keys().filter(|(from, _)| from == "reader.rs").map(|(_, to)| to.as_str()).collect();
        assert_eq!(found, expected, "{text}");
        assert!(imports.keys().all(|(from, _)| from == "reader.rs"), "what is below a file is a part of it: {imports:?}");
    }
}

#[test]
fn a_circle_is_told_with_its_files_and_what_ties_them() {
    let imports = made_up(&[
        ("lib.rs", "mod first; mod second; mod third; mod above; mod below;"),
        ("above.rs", "use crate::first::A;"),
        ("first.rs", "use crate::second::B; pub struct A;"),
        ("second.rs", "pub struct B; fn f() { super::third::part::c(); crate::below::d() }"),
        ("third.rs", "pub mod part; pub struct C;"),
        ("third/part.rs", "use crate::{below::d, first::A}; use super::C; pub fn c() {}"),
        ("below.rs", "pub fn d() {}"),
    ]);
    let found = circles(&imports);
    let expected = "src/x: first.rs, second.rs, third/part.rs\n    first.rs -> second.rs: crate::second::B\n    \
                    second.rs -> third/part.rs: super::third::part::c\n    third/part.rs -> first.rs: crate::first::A\n";
    assert_eq!(found.iter().map(|circle| told("x", circle, &imports)).collect::<Vec<_>>(), [expected]);
}
