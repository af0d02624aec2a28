//! What is wrong with unit files, their neighbours and a version of Podman in view. Pure; made for what Quadlet takes without a word: a misspelt
//! key of systemd, a word that is no boolean, a user of a service. The generator's own dry run is the caller's.
mod references;

use std::{collections::BTreeMap, sync::LazyLock};

use self::references::references;
use super::{
    keys::{Class, Key, Section, container},
    parse::{self, Document, Line},
    version::Podman,
};
use mesh_kit::meant::meant;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The unit is not made, or does something else than it says.
    Error,
    /// Something is skipped.
    Warning,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// How bad it is.
    pub level: Level,
    /// What it is, and the remedy.
    pub what: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let level = match self.level {
            Level::Error => "error",
            Level::Warning => "warning",
        };
        write!(f, "{}:{}: {level}: {}", self.file, self.line, self.what)
    }
}

/// What a file is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A file of Quadlet; its own section.
    Quadlet(Section),
    /// A drop-in of one.
    DropIn(Section),
    /// A unit of systemd, or a drop-in of one.
    Systemd,
}

/// Checks files, given by path and text. Paths are those that people see; only their last parts are looked at.
pub fn verify(files: &BTreeMap<String, String>, podman: Podman) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut documents = BTreeMap::new();
    for (path, text) in files {
        let Some(kind) = kind(path) else { continue };
        if kind != Kind::Systemd && podman < Podman::QUADLET {
            let what = format!(
                "Quadlet came with Podman {}, and this is for {podman}: no unit is made of this file; `mesh quadlet generate --podman-version {podman}` \
                 writes plain services",
                Podman::QUADLET
            );
            found.push(Finding { file: path.clone(), line: 1, level: Level::Error, what });
            continue;
        }
        match parse::document(text) {
            Ok(document) => drop(documents.insert(path.as_str(), (kind, document))),
            Err(error) => found.push(Finding { file: path.clone(), line: error.line, level: Level::Error, what: error.what }),
        }
    }
    for (path, (kind, document)) in &documents {
        let mut checks = Checks { file: path, kind: *kind, podman, found: &mut found };
        checks.document(document);
    }
    found.extend(references(files, documents.iter().map(|(path, (_, document))| (*path, document))));
    found.sort();
    found
}

fn kind(path: &str) -> Option<Kind> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let own = |name: &str| {
        let section = match name.rsplit_once('.')?.1 {
            "container" => Section::Container,
            "network" => Section::Network,
            "volume" => Section::Volume,
            "image" => Section::Image,
            "pod" => Section::Pod,
            _ => return None,
        };
        Some(section)
    };
    if let Some(section) = own(name) {
        return Some(Kind::Quadlet(section));
    }
    let parent = folder.rsplit('/').next().unwrap_or_default();
    match (name.rsplit_once('.')?.1, parent.strip_suffix(".d")) {
        ("conf", Some(of)) => Some(own(of).map_or(Kind::Systemd, Kind::DropIn)),
        ("service" | "socket" | "timer", _) => Some(Kind::Systemd),
        _ => None,
    }
}

struct Checks<'a> {
    file: &'a str,
    kind: Kind,
    podman: Podman,
    found: &'a mut Vec<Finding>,
}

impl Checks<'_> {
    fn say(&mut self, line: usize, level: Level, what: impl Into<String>) {
        self.found.push(Finding { file: self.file.to_owned(), line, level, what: what.into() });
    }

    fn document(&mut self, document: &Document) {
        for (line, section) in &document.sections {
            self.section(*line, section);
        }
        for line in &document.lines {
            self.line(line);
        }
        if let Kind::Quadlet(section) = self.kind {
            self.required(section, document);
        }
    }

    fn section(&mut self, line: usize, name: &str) {
        if name.starts_with("X-") {
            return;
        }
        let fits = Section::of(name).is_some_and(|section| match self.kind {
            Kind::Quadlet(own) | Kind::DropIn(own) => section == own || section == Section::Quadlet || !section.is_quadlets(),
            Kind::Systemd => !section.is_quadlets(),
        });
        if !fits {
            self.say(
                line,
                Level::Error,
                format!("the section [{name}] is not read in this file: everything in it is skipped without a word"),
            );
        }
    }

    fn line(&mut self, line: &Line) {
        let Some(section) = Section::of(&line.section) else { return };
        match Key::find(section, &line.key) {
            Some(key) if section.is_quadlets() => self.quadlets(key, line),
            None if section.is_quadlets() => {
                let meant =
                    meant(&line.key, Key::all(section).map(Key::name)).map(|name| format!("; did you mean {name}=?")).unwrap_or_default();
                let what = format!("[{}] has no key {:?}: Quadlet makes no unit of this file{meant}", line.section, line.key);
                self.say(line.number, Level::Error, what);
            }
            Some(_) | None => self.systemds(section, line),
        }
    }

    fn quadlets(&mut self, key: Key, line: &Line) {
        if key.since() > self.podman {
            let what =
                format!("{}= needs Podman {}, and this is for {}: Quadlet makes no unit of this file", line.key, key.since(), self.podman);
            self.say(line.number, Level::Error, what);
        }
        match key.class() {
            Class::Bool if !line.value.is_empty() && parse::boolean(&line.value).is_none() => {
                self.say(
                    line.number,
                    Level::Error,
                    format!("{}={}: Quadlet takes every word but true, yes, on and 1 for false", line.key, line.value),
                );
            }
            Class::Words => drop(self.words(line)),
            Class::Pairs => {
                let words = self.words(line);
                let names = key == container::ENVIRONMENT && self.podman >= Podman::ENVIRONMENT_NAMES;
                self.pairs(line, &words, names, "Quadlet");
            }
            _ => {}
        }
    }

    /// `A=b c` is a pair and a word too many. Names alone may be what is meant, where `names` says so.
    fn pairs(&mut self, line: &Line, words: &[String], names: bool, reader: &str) {
        let pairs = words.iter().filter(|word| word.contains('=')).count();
        let Some(word) = words.iter().find(|word| !word.contains('=') && !word.is_empty()) else { return };
        if names && pairs == 0 {
            return;
        }
        let what = match words.split_first().filter(|_| pairs > 0) {
            Some((first, rest)) => format!(
                "{}=: {reader} splits it at white space, and {word:?} has no '=': put quotes around the whole, \"{first} {}\"",
                line.key,
                rest.join(" ")
            ),
            None => format!("{}=: {word:?} has no '=', and is skipped: write NAME=VALUE", line.key),
        };
        self.say(line.number, Level::Error, what);
    }

    /// The words of a line; none if they cannot be read, which is said.
    fn words(&mut self, line: &Line) -> Vec<String> {
        let split = parse::split(&line.value);
        match &split {
            Err(what) => self.say(line.number, Level::Error, format!("{}=: {what}", line.key)),
            Ok(words) if words.iter().any(String::is_empty) => {
                self.say(
                    line.number,
                    Level::Error,
                    format!("{}=: Quadlet stops reading at an empty word; what stands behind it is lost", line.key),
                );
            }
            Ok(words) if words.iter().any(|word| word == ";") => {
                self.say(line.number, Level::Error, format!("{}=: a lone semicolon ends the command for systemd", line.key));
            }
            Ok(_) => {}
        }
        split.unwrap_or_default()
    }

    fn systemds(&mut self, section: Section, line: &Line) {
        if !line.key.starts_with("X-") && !KNOWN.get(section.name()).is_some_and(|known| known.contains(&line.key.as_str())) {
            self.say(line.number, Level::Warning, format!("systemd knows no {}= in [{}] and skips it", line.key, line.section));
        }
        if section == Section::Service && line.key == "Environment" {
            match parse::split(&line.value) {
                Ok(words) => self.pairs(line, &words, false, "systemd"),
                Err(what) => self.say(line.number, Level::Error, format!("{}=: {what}", line.key)),
            }
        }
        if self.kind == Kind::Systemd || section != Section::Service {
            return;
        }
        let refuses = match line.key.as_str() {
            "User" | "Group" | "DynamicUser" => Some("Podman itself would run as that user; write it into [Container]"),
            "KillMode" if !["mixed", "control-group"].contains(&line.value.as_str()) => Some("Quadlet takes mixed and control-group only"),
            "Type" if !["notify", "oneshot"].contains(&line.value.as_str()) && self.is_container() => {
                Some("Quadlet takes notify and oneshot only")
            }
            _ => None,
        };
        if let Some(why) = refuses {
            self.say(line.number, Level::Error, format!("{}={} in [Service]: {why}", line.key, line.value));
        }
    }

    fn is_container(&self) -> bool {
        matches!(self.kind, Kind::Quadlet(Section::Container) | Kind::DropIn(Section::Container))
    }

    fn required(&mut self, own: Section, document: &Document) {
        let has = |key: &str| document.lines.iter().any(|line| line.section == own.name() && line.key == key && !line.value.is_empty());
        if !document.sections.iter().any(|(_, name)| name == own.name()) {
            self.say(1, Level::Error, format!("it has no section [{}]", own.name()));
        } else if own == Section::Container && !has("Image") && !has("Rootfs") {
            self.say(1, Level::Error, "it has neither Image= nor Rootfs=: Quadlet makes no unit of this file");
        } else if own == Section::Image && !has("Image") {
            self.say(1, Level::Error, "it has no Image=: Quadlet makes no unit of this file");
        }
    }
}

/// What systemd itself knows, by section.
static KNOWN: LazyLock<BTreeMap<&'static str, Vec<&'static str>>> = LazyLock::new(|| {
    let mut known: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut section = "";
    for line in include_str!("systemd.txt").lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(name) => section = name,
            None => known.entry(section).or_default().extend(line.split(' ')),
        }
    }
    known
});

#[cfg(test)]
mod tests;
