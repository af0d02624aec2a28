//! Ecosystem files of pm2 (JSON, YAML, or the usual literal of JavaScript) as MeshServices.
mod app;
mod literal;

use serde_json::Value;

use super::{
    draft::{Book, Outcome, label},
    fields::Fields,
    input::Input,
    setting::Setting,
};
use crate::Result;

/// Imports files.
pub(super) fn import(inputs: Vec<Input>, setting: &Setting, outcome: &mut Outcome) -> Result {
    for mut input in inputs {
        let (value, code) = read(&mut input, outcome)?;
        let mut top = match value {
            Value::Array(apps) => Fields::new("", serde_json::json!({ "apps": apps })),
            value => Fields::new("", value),
        };
        let whole = top.clone();
        let mut apps = top.list("apps");
        if apps.is_empty() {
            // A file of one app may be that app alone.
            apps = if whole.has("script") { vec![(String::new(), Value::Object(whole.rest()))] } else { Vec::new() };
            top = if apps.is_empty() { top } else { Fields::default() };
        }
        if let Some((path, value)) = apps.iter_mut().find(|(_, value)| !value.is_object() && !value.is_null()) {
            return Err(input.refuse(input.line(0, path), &format!("apps: {value} is no app")));
        }
        let mut book = Book::new(&input, 0, None);
        for (path, key, _) in top.left() {
            match key.as_str() {
                "deploy" => book.lost(&path, "deploy: pm2's way to other machines: use a cluster, or mesh apply there"),
                _ => book.lost(&path, format!("{key} has no counterpart")),
            }
        }
        let in_app = |at: &str| apps.iter().any(|(path, _)| at.starts_with(path.as_str()) && !path.is_empty());
        code.iter()
            .filter(|(at, _)| !in_app(at))
            .for_each(|(at, text)| book.lost(at, format!("{at} is code, which is not run here: {text}")));
        book.close(outcome);
        for (path, value) in apps {
            let name = value.get("name").and_then(Value::as_str).map_or_else(|| app::name_of(&value), str::to_owned);
            let mut book = Book::new(&input, 0, Some(&label(&name)));
            for (at, text) in code.iter().filter(|(at, _)| at.starts_with(path.as_str()) && !path.is_empty()) {
                let field = at.strip_prefix(path.as_str()).unwrap_or(at).trim_start_matches('.');
                book.lost(at, format!("{field} is code, which is not run here: {text}"));
            }
            outcome.drafts.extend(app::app(&name, Fields::new(path, value), setting, &mut book));
            book.close(outcome);
        }
    }
    Ok(())
}

/// Code in place of a value: where, and its text.
type Code = Vec<(String, String)>;

fn read(input: &mut Input, outcome: &mut Outcome) -> Result<(Value, Code)> {
    let extension = std::path::Path::new(&input.name).extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    let literal = matches!(extension.as_deref(), Some("js" | "cjs" | "mjs" | "json")) || input.text.contains("module.exports");
    if !literal {
        let mut documents = input.documents()?;
        return Ok((if documents.is_empty() { Value::Null } else { documents.remove(0) }, Vec::new()));
    }
    let literal = literal::read(&input.text).map_err(|(line, what)| input.refuse(line, &what))?;
    for (line, text) in literal.statements {
        let text = format!("code is not run here: {text}");
        outcome.notes.push(super::draft::Note { place: format!("{}:{line}", input.name), line, service: None, lost: true, text });
    }
    input.lines = vec![literal.lines];
    Ok((literal.value, literal.code))
}
