//! YAML with comments.
use serde_json::Value;

/// An object as YAML. Where its YAML would be read otherwise than it was meant, it is JSON, which is YAML as well.
pub(super) fn yaml(object: &Value) -> String {
    let json = || format!("{object:#}\n");
    let Ok(text) = serde_saphyr::to_string(object) else { return json() };
    let again: Option<Value> = serde_saphyr::from_str(&text).ok();
    if again.as_ref() == Some(object) { text } else { json() }
}

/// Comment lines. Nothing in the text ends a comment but its own line breaks.
pub(super) fn comment(text: &str) -> String {
    // YAML 1.1, which kubectl reads, knows more line breaks than the usual one.
    let harmless = |c: char| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { '?' } else { c };
    let lines = text.split('\n').flat_map(|line| ["# ".to_owned(), line.chars().map(harmless).collect(), "\n".to_owned()]);
    lines.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_in_a_text_ends_its_comment_and_nothing_is_read_otherwise_by_yaml_1_1() {
        assert_eq!(comment("a\u{2028}kind: Evil\nb\r\u{1b}[31m"), "# a?kind: Evil\n# b??[31m\n");
        assert_eq!(yaml(&json!({"on": "yes"})), "\"on\": \"yes\"\n");
        assert_eq!(yaml(&json!({"a": "x\u{85}y\u{2028}z"})), "a: \"x\\Ny\\Lz\"\n");
    }
}
