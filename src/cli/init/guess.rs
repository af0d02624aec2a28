//! What a project's files say about how it is run. A guess to be looked at, never more.
use std::path::Path;

/// What the example serves: a folder of its own, because the project's has `.mesh` (with the key of its API) and `.env` in it.
pub(super) const PUBLIC: &str = "public";

/// A service that may be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Guess {
    pub(super) name: String,
    pub(super) type_: &'static str,
    pub(super) command: Vec<String>,
    pub(super) route: Option<&'static str>,
}

impl Guess {
    pub(super) fn web(name: &str, command: &[&str]) -> Self {
        Self { name: label(name), type_: "Backend", command: command.iter().map(|word| (*word).to_owned()).collect(), route: Some("/") }
    }
}

/// The services, and what they were guessed from.
pub(super) fn guess(dir: &Path) -> (Vec<Guess>, &'static str) {
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).ok();
    let found = [
        (read("Procfile").map(|text| procfile(&text)), "from the Procfile"),
        (read("package.json").map(|text| package_json(&text)), "from package.json"),
        (read("Cargo.toml").map(|text| cargo_toml(&text)), "from Cargo.toml"),
    ];
    found
        .into_iter()
        .find_map(|(guesses, source)| guesses.filter(|guesses| !guesses.is_empty()).map(|guesses| (guesses, source)))
        .unwrap_or_else(|| {
            (
                vec![Guess::web("web", &["python3", "-m", "http.server", "--bind", "127.0.0.1", "--directory", PUBLIC, "$(PORT)"])],
                "an example: nothing here says how the project is run",
            )
        })
}

/// `name: command line`. A `web` gets the requests; the others are workers.
fn procfile(text: &str) -> Vec<Guess> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let entries =
        lines.filter_map(|line| line.split_once(':')).map(|(name, line)| (name.trim(), line.trim())).filter(|(_, line)| !line.is_empty());
    entries
        .map(|(name, line)| {
            let web = name == "web";
            Guess { name: label(name), type_: if web { "Backend" } else { "Worker" }, command: words(line), route: web.then_some("/") }
        })
        .collect()
}

/// A command line as a vector; one that needs a shell gets one, said openly.
fn words(line: &str) -> Vec<String> {
    let assigns = line.split_whitespace().next().is_some_and(|word| word.contains('='));
    if assigns || line.contains(|c: char| "\"'`$&|;<>(){}*?~#\\!".contains(c)) {
        // `exec` lets SIGTERM reach the program itself; it takes no assignments.
        let exec = if assigns { "" } else { "exec " };
        return ["/bin/sh", "-c", &format!("{exec}{line}")].map(str::to_owned).to_vec();
    }
    line.split_whitespace().map(str::to_owned).collect()
}

fn package_json(text: &str) -> Vec<Guess> {
    let package: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let name = package.get("name").and_then(serde_json::Value::as_str).unwrap_or("web");
    let script = ["start", "dev"].into_iter().find(|script| package.pointer(&format!("/scripts/{script}")).is_some());
    script.map(|script| Guess::web(name.rsplit('/').next().unwrap_or(name), &["npm", "run", script])).into_iter().collect()
}

fn cargo_toml(text: &str) -> Vec<Guess> {
    let package = text.lines().map(str::trim).skip_while(|line| *line != "[package]").skip(1).take_while(|line| !line.starts_with('['));
    let name = package
        .filter_map(|line| line.strip_prefix("name")?.trim_start().strip_prefix('='))
        .map(|value| value.trim().trim_matches('"'))
        .next();
    name.map(|name| Guess::web(name, &[&format!("target/release/{name}")])).into_iter().collect()
}

/// A name as services have it.
fn label(name: &str) -> String {
    let name: String = name.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(48).collect();
    let name = name.trim_matches('-');
    if name.starts_with(|c: char| c.is_ascii_lowercase()) { name.to_owned() } else { format!("app{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_says_how_it_is_run() {
        assert_eq!(
            package_json(r#"{"name": "@shop/Web_App", "scripts": {"start": "x"}}"#),
            [Guess::web("web-app", &["npm", "run", "start"])]
        );
        assert_eq!(package_json(r#"{"name": "lib"}"#), []);
        assert_eq!(
            cargo_toml("[package]\nname = \"shop\"\n[dependencies]\nname = \"x\"\n"),
            [Guess::web("shop", &["target/release/shop"])]
        );
        assert_eq!(cargo_toml("[workspace]\nmembers = []\n"), []);
    }

    #[test]
    fn a_command_line_becomes_a_vector_and_gets_a_shell_only_if_it_needs_one() {
        assert_eq!(words("node a.js -x"), ["node", "a.js", "-x"]);
        assert_eq!(words("A=1 node a.js"), ["/bin/sh", "-c", "A=1 node a.js"]);
        assert_eq!(words("a | b"), ["/bin/sh", "-c", "exec a | b"]);
    }
}
