//! Kubernetes' rules for names, labels and annotations, each with its message (RFC 1123, RFC 1035).
use std::sync::LazyLock;

use regex::Regex;

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const RFC1035: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const LABEL_VALUE: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";

/// What an object of a kind may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum NameRule {
    /// Most kinds.
    #[default]
    Subdomain,
    /// Namespaces.
    Label,
    /// Services.
    Rfc1035,
    /// What is embedded, and kinds whose names are free but for what a path cannot hold.
    PathSegment,
}

impl NameRule {
    /// What is wrong with a name; of a prefix (generateName), a dash at the end is none of it.
    pub(super) fn check(self, name: &str, is_prefix: bool) -> Vec<String> {
        let masked =
            if is_prefix && name.ends_with('-') && name.len() > 1 { format!("{}a", name.trim_end_matches('-')) } else { name.to_owned() };
        match self {
            Self::Subdomain => check_subdomain(&masked),
            Self::Label => check_label(&masked),
            Self::Rfc1035 => check_rfc1035(&masked),
            Self::PathSegment => check_path_segment(name, is_prefix),
        }
    }
}

struct Pattern {
    text: &'static str,
    regex: LazyLock<Option<Regex>>,
}

macro_rules! pattern {
    ($name:ident, $text:expr) => {
        static $name: Pattern = Pattern { text: $text, regex: LazyLock::new(|| Regex::new(&format!("^(?:{})$", $text)).ok()) };
    };
}

pattern!(LABEL_PATTERN, LABEL);
pattern!(SUBDOMAIN_PATTERN, SUBDOMAIN);
pattern!(RFC1035_PATTERN, RFC1035);
pattern!(QUALIFIED_PATTERN, QUALIFIED);
pattern!(LABEL_VALUE_PATTERN, LABEL_VALUE);

impl Pattern {
    fn fits(&self, text: &str) -> bool {
        self.regex.as_ref().is_some_and(|regex| regex.is_match(text))
    }

    /// Kubernetes' way to say which pattern was not met; the doubled blank stands so in the original.
    fn message(&self, what: &str, examples: &[&str]) -> String {
        let examples: Vec<_> = examples.iter().map(|example| format!("'{example}', ")).collect();
        format!("{what} (e.g. {}regex used for validation is '{}')", examples.join(" or "), self.text)
    }
}

fn check_subdomain(name: &str) -> Vec<String> {
    let what = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
    checked(name, 253, &SUBDOMAIN_PATTERN, what, &["example.com"])
}

fn check_label(name: &str) -> Vec<String> {
    let what = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
    if SUBDOMAIN_PATTERN.fits(name) && !LABEL_PATTERN.fits(name) {
        return vec!["must not contain dots".to_owned()];
    }
    checked(name, 63, &LABEL_PATTERN, what, &["my-name", "123-abc"])
}

fn check_rfc1035(name: &str) -> Vec<String> {
    let what = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character";
    checked(name, 63, &RFC1035_PATTERN, what, &["my-name", "abc-123"])
}

fn checked(name: &str, limit: usize, pattern: &Pattern, what: &str, examples: &[&str]) -> Vec<String> {
    let too_long = (name.len() > limit).then(|| format!("must be no more than {limit} characters"));
    let unfit = (!pattern.fits(name)).then(|| pattern.message(what, examples));
    too_long.into_iter().chain(unfit).collect()
}

fn check_path_segment(name: &str, is_prefix: bool) -> Vec<String> {
    if !is_prefix && (name == "." || name == "..") {
        return vec![format!("may not be '{name}'")];
    }
    ["/", "%"].iter().filter(|part| name.contains(**part)).map(|part| format!("may not contain '{part}'")).collect()
}

/// A label's key, an annotation's key, a finalizer: `example.com/name`, the prefix optional.
pub(super) fn check_qualified(key: &str) -> Vec<String> {
    let what = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
    let unfit = || QUALIFIED_PATTERN.message(what, &["MyName", "my.name", "123-abc"]);
    let mut parts = key.split('/');
    let (prefix, name) = match (parts.next(), parts.next(), parts.next()) {
        (Some(prefix), Some(name), None) => (Some(prefix), name),
        (Some(name), None, _) => (None, name),
        _ => {
            return vec![format!(
                "a valid label key {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                unfit()
            )];
        }
    };
    let mut errors = match prefix {
        Some("") => vec!["prefix part must be non-empty".to_owned()],
        Some(prefix) => check_subdomain(prefix).iter().map(|message| format!("prefix part {message}")).collect(),
        None => Vec::new(),
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        errors.push("name part must be no more than 63 bytes".to_owned());
    }
    if !QUALIFIED_PATTERN.fits(name) {
        errors.push(format!("name part {}", unfit()));
    }
    errors
}

/// A label's value.
pub(super) fn check_label_value(value: &str) -> Vec<String> {
    let what = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
    let too_long = (value.len() > 63).then(|| "must be no more than 63 bytes".to_owned());
    let unfit = (!LABEL_VALUE_PATTERN.fits(value)).then(|| LABEL_VALUE_PATTERN.message(what, &["MyValue", "my_value", "12345"]));
    too_long.into_iter().chain(unfit).collect()
}
