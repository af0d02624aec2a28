//! What units say of each other: a file that is named and is not there makes no unit at all.
use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Level};
use crate::quadlet::parse::{Document, Line};

/// Every reference to a file that is not among `files`.
pub(super) fn references<'a>(files: &BTreeMap<String, String>, documents: impl Iterator<Item = (&'a str, &'a Document)>) -> Vec<Finding> {
    let there: BTreeSet<&str> = files.keys().map(|path| path.rsplit('/').next().unwrap_or(path)).collect();
    let mut found = Vec::new();
    for (file, document) in documents {
        for line in &document.lines {
            for named in named(line).into_iter().filter(|named| !there.contains(named.as_str())) {
                let what = format!("{}= names {named}, which is not there: Quadlet makes no unit of this file", line.key);
                found.push(Finding { file: file.to_owned(), line: line.number, level: Level::Error, what });
            }
        }
        if let Some(base) = base(file)
            && !there.contains(base)
        {
            let what = format!("there is no {base} for this drop-in: it is not read");
            found.push(Finding { file: file.to_owned(), line: 1, level: Level::Warning, what });
        }
    }
    found
}

/// The unit file that a drop-in is for; none for folders that are for many (`container.d`, `mesh-.container.d`).
fn base(file: &str) -> Option<&str> {
    let folder = file.rsplit_once('/')?.0.rsplit('/').next()?;
    let base = folder.strip_suffix(".d")?;
    let (stem, suffix) = base.rsplit_once('.')?;
    (SUFFIXES.contains(&suffix) && !stem.ends_with('-')).then_some(base)
}

const SUFFIXES: [&str; 7] = ["container", "network", "volume", "image", "pod", "kube", "build"];

fn is_file(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(stem, suffix)| !stem.is_empty() && !stem.contains('/') && SUFFIXES.contains(&suffix))
}

/// The files of Quadlet that a line names.
fn named(line: &Line) -> Vec<String> {
    let value = line.value.as_str();
    let before_colon = || value.split(':').next().unwrap_or_default().to_owned();
    let candidates = match (line.section.as_str(), line.key.as_str()) {
        ("Container" | "Pod", "Network" | "Volume") => vec![before_colon()],
        ("Container", "Image" | "Pod") | ("Volume", "Image") => vec![value.to_owned()],
        ("Unit", "After" | "Before" | "BindsTo" | "PartOf" | "Requires" | "Requisite" | "Upholds" | "Wants") => {
            value.split_whitespace().map(ToOwned::to_owned).collect()
        }
        _ => Vec::new(),
    };
    candidates.into_iter().filter(|name| is_file(name)).collect()
}
