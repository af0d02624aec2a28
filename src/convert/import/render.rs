//! The MeshServices as YAML with their notes as comments, and the summary for the terminal.
use std::fmt::Write;

use super::{
    draft::{Note, Outcome},
    yaml,
};

impl Outcome {
    /// All documents.
    pub fn manifest(&self) -> String {
        let mut documents = Vec::new();
        for object in &self.objects {
            documents.push(yaml::document(object));
        }
        for draft in &self.drafts {
            let mut text = String::new();
            let about = |note: &&Note| note.service.as_deref() == Some(&draft.name);
            for note in self.notes.iter().filter(about) {
                let _ = writeln!(text, "# {}{}", if note.lost { "NOT CARRIED OVER " } else { "" }, plain(&note.text));
            }
            documents.push(text + &yaml::document(&draft.object()));
        }
        documents.join("---\n")
    }

    /// What was made, what was not carried over, and what means nothing here.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        let names: Vec<&str> = self.drafts.iter().map(|draft| draft.name.as_str()).collect();
        let also = if self.objects.is_empty() {
            String::new()
        } else {
            format!(", and {} ConfigMaps and Secrets as they are", self.objects.len())
        };
        let services = if names.len() == 1 { "service" } else { "services" };
        let _ = writeln!(text, "{} {services}: {}{also}", names.len(), names.join(", "));
        for (title, lost) in [("not carried over:", true), ("carried over with a change:", false)] {
            let mut notes: Vec<&Note> = self.notes.iter().filter(|note| note.lost == lost).collect();
            notes.sort_by_key(|note| note.line);
            if !notes.is_empty() {
                let _ = writeln!(text, "{title}");
            }
            for note in &notes {
                let first = notes.iter().find(|other| other.text == note.text).is_some_and(|other| std::ptr::eq(*other, *note));
                if !first {
                    continue;
                }
                let place = places(note, &notes);
                // What is said of several services is said once.
                let about: Vec<&str> =
                    notes.iter().filter(|other| other.text == note.text).filter_map(|other| other.service.as_deref()).collect();
                let about = if about.is_empty() { String::new() } else { format!("{}: ", about.join(", ")) };
                let _ = writeln!(text, "  {place}{about}{}", plain(&note.text));
            }
        }
        if !self.moot.is_empty() {
            let _ = writeln!(text, "means nothing here:");
        }
        for key in &self.moot {
            let _ = writeln!(text, "  {key}");
        }
        text
    }
}

/// `compose.yaml:3,12: `: where all stand that say the same.
fn places(note: &Note, notes: &[&Note]) -> String {
    let file = |note: &Note| note.place.rsplit_once(':').map(|(file, _)| file.to_owned());
    let Some(of) = file(note) else { return String::new() };
    let mut lines: Vec<u64> =
        notes.iter().filter(|other| other.text == note.text && file(other) == file(note)).map(|other| other.line).collect();
    lines.dedup();
    format!("{of}:{}: ", lines.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
}

/// One line, without what would end a comment or move the cursor.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
