//! A model of the two readers of a `.container` file: Quadlet's generator, which makes a service of it, and systemd, which reads that service.
//! Written from what Podman 5.4.2 and systemd 257 do (runs of both stand beside it in `vm`), with nothing of the code under test.
use std::collections::BTreeMap;

/// Assignments by section, in order.
pub(crate) type Sections = Vec<(String, Vec<(String, String)>)>;

/// What Go's `unicode.IsSpace` takes for white space, which is what Quadlet trims.
fn trim(line: &str) -> &str {
    line.trim()
}

/// Quadlet's reading of a unit file.
pub(crate) fn quadlet_sections(text: &str) -> Result<Sections, String> {
    let mut sections: Sections = Vec::new();
    let mut remaining = String::new();
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        let mut line = trim(line).to_owned();
        let comment = line.is_empty() || line.starts_with(['#', ';']);
        if comment && !remaining.is_empty() {
            continue;
        }
        if !comment && line.ends_with('\\') {
            line.pop();
            remaining += &line;
            continue;
        }
        line = std::mem::take(&mut remaining) + &line;
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with('[') && line.ends_with(']') {
            sections.push((line[1..line.len() - 1].to_owned(), Vec::new()));
            continue;
        }
        let (key, value) = line.split_once('=').ok_or_else(|| format!("not a key-value pair: {line:?}"))?;
        let section = sections.last_mut().ok_or("no group")?;
        section.1.push((key.trim_end().to_owned(), value.trim_start().to_owned()));
    }
    Ok(sections)
}

/// Splits as `extract_first_word` of both programs does: quotes taken away, C escapes undone. `None`: an error.
/// Quadlet's ends at an empty word (`ends_at_empty`), and writes escapes of one byte as characters; systemd's as bytes.
fn split(text: &str, quadlet: bool) -> Result<Vec<Vec<u8>>, String> {
    let bytes = text.as_bytes();
    let (mut at, mut words) = (0, Vec::new());
    loop {
        while at < bytes.len() && b" \t\n\r".contains(&bytes[at]) {
            at += 1;
        }
        if at >= bytes.len() {
            return Ok(words);
        }
        // Without quotes it ends the command.
        if !quadlet && bytes[at] == b';' && bytes.get(at + 1).is_none_or(|next| b" \t\n\r".contains(next)) {
            return Err("a lone semicolon".to_owned());
        }
        let mut word = Vec::new();
        let mut quote = None;
        while at < bytes.len() {
            let byte = bytes[at];
            at += 1;
            match (byte, quote) {
                (b'\\', _) => {
                    let (used, character) = unescape(&bytes[at..]).ok_or("unsupported escape")?;
                    at += used;
                    match character {
                        Escaped::Byte(byte) if !quadlet => word.push(byte),
                        Escaped::Byte(byte) => word.extend(char::from(byte).to_string().bytes()),
                        Escaped::Char(c) => word.extend(c.to_string().bytes()),
                    }
                }
                (byte, Some(open)) if byte == open => quote = None,
                (b'"' | b'\'', None) => quote = Some(byte),
                (b' ' | b'\t' | b'\n' | b'\r', None) => break,
                (byte, _) => word.push(byte),
            }
        }
        if quote.is_some() && !quadlet {
            return Err("unbalanced quotes".to_owned());
        }
        if word.is_empty() && quadlet {
            return Ok(words);
        }
        words.push(word);
    }
}

enum Escaped {
    Byte(u8),
    Char(char),
}

fn unescape(rest: &[u8]) -> Option<(usize, Escaped)> {
    let hex = |digits: &[u8]| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok().filter(|code| *code != 0);
    let simple = |c: char| Some((1, Escaped::Char(c)));
    match rest.first()? {
        b'a' => simple('\u{7}'),
        b'b' => simple('\u{8}'),
        b'f' => simple('\u{c}'),
        b'n' => simple('\n'),
        b'r' => simple('\r'),
        b't' => simple('\t'),
        b'v' => simple('\u{b}'),
        b's' => simple(' '),
        b'\\' => simple('\\'),
        b'"' => simple('"'),
        b'\'' => simple('\''),
        b'x' => Some((3, Escaped::Byte(u8::try_from(hex(rest.get(1..3)?)?).ok()?))),
        b'u' => Some((5, Escaped::Char(char::from_u32(hex(rest.get(1..5)?)?)?))),
        b'U' => Some((9, Escaped::Char(char::from_u32(hex(rest.get(1..9)?)?)?))),
        _ => None,
    }
}

/// How Quadlet writes a word into `ExecStart=`.
fn escape_word(word: &[u8]) -> String {
    let text = String::from_utf8_lossy(word);
    let odd = |c: char| c as u32 <= 128 && (c.is_whitespace() || c.is_control() || "\"'\\".contains(c));
    if !text.contains(odd) {
        return text.into_owned();
    }
    let mut out = "\"".to_owned();
    for c in text.chars() {
        match c {
            '\u{7}' => out += "\\a",
            '\u{8}' => out += "\\b",
            '\n' => out += "\\n",
            '\r' => out += "\\r",
            '\t' => out += "\\t",
            '\u{b}' => out += "\\v",
            '\u{c}' => out += "\\f",
            '\\' => out += "\\\\",
            '"' => out += "\\\"",
            ' ' | '\'' => out.push(c),
            c if odd(c) => out.extend(["\\x", &format!("{:02x}", c as u32)]),
            c => out.push(c),
        }
    }
    out + "\""
}

/// The service that Quadlet makes of the sections of a `.container` file. `exists`: the networks and volumes that have units, by file.
pub(crate) fn generate(sections: &Sections, exists: &BTreeMap<String, String>) -> Result<String, String> {
    let container = Container::of(sections);
    let argv = container.argv(exists)?;
    let words: Vec<String> = argv.iter().map(|word| escape_word(word)).collect();
    let mut out = String::new();
    for (name, lines) in sections {
        let prefix = if name == "Container" { "X-" } else { "" };
        out.extend(["[", prefix, name, "]\n"]);
        for (key, value) in lines {
            out.extend([key, "=", value, "\n"]);
        }
    }
    for path in container.mounted_paths() {
        out.extend(["[Unit]\nRequiresMountsFor=", &path, "\n"]);
    }
    Ok(out + &format!("[Service]\nExecStart={}\n", words.join(" ")))
}

struct Container<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Container<'a> {
    fn of(sections: &'a Sections) -> Self {
        let lines = sections.iter().filter(|(name, _)| name == "Container").flat_map(|(_, lines)| lines);
        Self(lines.map(|(key, value)| (key.as_str(), value.as_str())).collect())
    }

    fn all(&self, key: &str) -> Vec<&'a str> {
        self.0.iter().filter(|(name, value)| *name == key && !value.is_empty()).map(|(_, value)| *value).collect()
    }

    /// The last value, without white space at its end and quotes at its ends.
    fn last(&self, key: &str) -> Option<Vec<u8>> {
        let value = self.all(key).pop()?;
        Some(value.trim_end().trim_matches('"').as_bytes().to_vec())
    }

    fn mounted_paths(&self) -> Vec<String> {
        self.all("Volume")
            .iter()
            .filter(|volume| volume.starts_with('/'))
            .map(|volume| volume.split(':').next().unwrap().to_owned())
            .collect()
    }

    fn argv(&self, exists: &BTreeMap<String, String>) -> Result<Vec<Vec<u8>>, String> {
        let mut argv: Vec<Vec<u8>> = vec![b"/usr/bin/podman".to_vec(), b"run".to_vec()];
        let mut add = |flag: &str, value: Vec<u8>| argv.extend([flag.as_bytes().to_vec(), value]);
        let unit = |name: &str| exists.get(name).cloned().unwrap_or_else(|| name.to_owned());
        for (key, flag) in [
            ("ContainerName", "--name"),
            ("LogDriver", "--log-driver"),
            ("Entrypoint", "--entrypoint"),
            ("WorkingDir", "--workdir"),
            ("StopTimeout", "--stop-timeout"),
            ("Pull", "--pull"),
            ("Memory", "--memory"),
        ] {
            self.last(key).into_iter().filter(|value| !value.is_empty()).for_each(|value| add(flag, value));
        }
        self.all("NetworkAlias").into_iter().for_each(|alias| add("--network-alias", alias.into()));
        self.all("Tmpfs").into_iter().for_each(|tmpfs| add("--tmpfs", tmpfs.into()));
        self.all("Network").into_iter().for_each(|network| add("--network", unit(network).into()));
        self.all("PublishPort").into_iter().for_each(|port| add("--publish", port.into()));
        for (key, flag) in [("DropCapability", "--cap-drop"), ("AddCapability", "--cap-add")] {
            let words =
                self.all(key).into_iter().flat_map(|value| value.split_ascii_whitespace().map(str::to_lowercase).collect::<Vec<_>>());
            words.for_each(|word| add(flag, word.into()));
        }
        if let Some(user) = self.last("User") {
            let group = self.last("Group").map(|group| [b":".to_vec(), group].concat()).unwrap_or_default();
            add("--user", [user, group].concat());
        }
        for volume in self.all("Volume") {
            let (source, rest) = volume.split_once(':').unwrap_or(("", volume));
            add("-v", format!("{}:{rest}", unit(source)).into());
        }
        for (key, flag) in [("Environment", "--env"), ("Label", "--label")] {
            let mut pairs = BTreeMap::new();
            for value in self.all(key) {
                for word in split(value, true)? {
                    let at = word.iter().position(|byte| *byte == b'=').ok_or("a pair without =")?;
                    pairs.insert(word[..at].to_vec(), word);
                }
            }
            for pair in pairs.into_values() {
                add(flag, pair);
            }
        }
        for value in self.all("Secret") {
            split(value, true)?.into_iter().for_each(|word| add("--secret", word));
        }
        if self.last("ReadOnly").is_some_and(|value| value == b"true") {
            argv.push(b"--read-only".to_vec());
        } else {
            argv.push(b"--read-only=false".to_vec());
        }
        if self.last("NoNewPrivileges").is_some_and(|value| value == b"true") {
            argv.push(b"--security-opt=no-new-privileges".to_vec());
        }
        for value in self.all("PodmanArgs") {
            argv.extend(split(value, true)?);
        }
        argv.push(self.last("Image").ok_or("no Image")?);
        if let Some(exec) = self.all("Exec").pop() {
            argv.extend(split(exec, true)?);
        }
        Ok(argv)
    }
}

/// systemd's reading of a service: a line ends at a line feed, a carriage return or NUL.
pub(crate) fn systemd_sections(text: &str) -> Sections {
    let mut sections: Sections = Vec::new();
    let mut begun = String::new();
    for line in text.split(['\n', '\r', '\0']) {
        let line = line.trim_matches([' ', '\t', '\n', '\r']);
        if !begun.is_empty() && line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(part) = line.strip_suffix('\\') {
            begun += part;
            begun.push(' ');
            continue;
        }
        let line = std::mem::take(&mut begun) + line;
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with('[') {
            sections.push((line.trim_matches(['[', ']']).to_owned(), Vec::new()));
        } else if let (Some((key, value)), Some(section)) = (line.split_once('='), sections.last_mut()) {
            // ASCII white space only, unlike Quadlet.
            let white = [' ', '\t', '\n', '\r'];
            section.1.push((key.trim_matches(white).to_owned(), value.trim_matches(white).to_owned()));
        }
    }
    sections
}

/// The commands that systemd starts for a service: `%` and `$` replaced, split at lone semicolons.
pub(crate) fn commands(sections: &Sections) -> Result<Vec<Vec<String>>, String> {
    let service: Vec<&(String, String)> = sections.iter().filter(|(name, _)| name == "Service").flat_map(|(_, lines)| lines).collect();
    let mut environment = BTreeMap::new();
    for (_, value) in service.iter().filter(|(key, _)| key == "Environment") {
        for word in split(value, false)? {
            let word = String::from_utf8(word).map_err(|error| error.to_string())?;
            let (name, value) = word.split_once('=').ok_or("an environment without =")?;
            environment.insert(name.to_owned(), value.to_owned());
        }
    }
    let mut commands = Vec::new();
    for (_, value) in service.iter().filter(|(key, _)| key == "ExecStart") {
        let words = split(value, false)?.into_iter().map(|word| {
            let word = String::from_utf8(word).map_err(|error| error.to_string())?;
            variables(&specifiers(&word)?, &environment)
        });
        commands.push(words.collect::<Result<Vec<_>, String>>()?);
    }
    Ok(commands)
}

/// `%%` is a percent sign; the others are systemd's own names, of which Quadlet itself writes two.
fn specifiers(word: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('%') {
        out += before;
        let Some(c) = after.chars().next() else { return Err(format!("a lone % in {word:?}")) };
        match c {
            '%' => out.push('%'),
            't' if word.starts_with("--cidfile=%t/%N.cid") => out += "/run",
            'N' if word.starts_with("--cidfile=%t/%N.cid") => out += "unit",
            _ => return Err(format!("the specifier %{c} in {word:?}")),
        }
        rest = &after[c.len_utf8()..];
    }
    Ok(out + rest)
}

fn variables(word: &str, environment: &BTreeMap<String, String>) -> Result<String, String> {
    let second = word.strip_prefix('$').map(|rest| rest.chars().next());
    if second.is_some_and(|second| second.is_some_and(|c| c != '{' && c != '$')) {
        return Err(format!("{word:?} is split into words"));
    }
    let mut out = String::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('$') {
        out += before;
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = after.strip_prefix('{').and_then(|after| after.split_once('}')) {
            out += environment.get(name).map(String::as_str).ok_or_else(|| format!("the unset variable {name:?}"))?;
            rest = after;
        } else {
            out.push('$');
            rest = after;
        }
    }
    Ok(out + rest)
}

/// Flags of `podman run` that take the next word as their value.
const VALUED: [&str; 31] = [
    "name",
    "log-driver",
    "entrypoint",
    "workdir",
    "stop-timeout",
    "pull",
    "memory",
    "network-alias",
    "tmpfs",
    "network",
    "publish",
    "cap-drop",
    "cap-add",
    "user",
    "volume",
    "env",
    "label",
    "secret",
    "security-opt",
    "cidfile",
    "cgroups",
    "health-cmd",
    "health-interval",
    "health-timeout",
    "health-retries",
    "health-start-period",
    "health-on-failure",
    "health-startup-cmd",
    "health-startup-interval",
    "health-startup-timeout",
    "health-startup-success",
];

/// What a command line of `podman run` says: flags with their values, then the image and its arguments.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) flags: Vec<(String, String)>,
    pub(crate) image: String,
    pub(crate) args: Vec<String>,
}

/// Reads a command line as Podman does: flags end at the first word that is none.
pub(crate) fn run(argv: &[String]) -> Run {
    assert_eq!(&argv[..2], ["/usr/bin/podman", "run"]);
    let mut words = argv[2..].iter();
    let mut flags = Vec::new();
    while let Some(word) = words.next() {
        let name = match word.as_str() {
            "-v" => "volume",
            "-d" | "--detach" => {
                flags.push(("detach".to_owned(), "true".to_owned()));
                continue;
            }
            word => {
                let Some(name) = word.strip_prefix("--") else {
                    flags.retain(|(name, _): &(String, String)| name != "cidfile");
                    flags.sort();
                    return Run { flags, image: word.to_owned(), args: words.cloned().collect() };
                };
                name
            }
        };
        match name.split_once('=') {
            Some((name, value)) => flags.push((name.to_owned(), value.to_owned())),
            None if VALUED.contains(&name) => flags.push((name.to_owned(), words.next().unwrap().clone())),
            None => flags.push((name.to_owned(), "true".to_owned())),
        }
    }
    panic!("no image in {argv:?}");
}
