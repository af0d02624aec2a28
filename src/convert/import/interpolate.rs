//! `${VARIABLE}` in a compose file, by the rules of the Compose Specification.
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Replaces variables in all texts of a value; collects the names of those that are not set and have no default, each with what it is for.
///
/// # Errors
/// The text that has a wrong `${`, and what is wrong.
pub(super) fn interpolate(value: &mut Value, variables: &BTreeMap<String, String>, unset: &mut BTreeSet<String>) -> Result<(), String> {
    match value {
        Value::String(text) if text.contains('$') => *text = replace(text, variables, unset)?,
        Value::Array(list) => list.iter_mut().try_for_each(|value| interpolate(value, variables, unset))?,
        Value::Object(map) => map.values_mut().try_for_each(|value| interpolate(value, variables, unset))?,
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    Ok(())
}

/// Replaces variables in a text.
///
/// # Errors
/// The text that has a wrong `${`, and what is wrong.
pub(super) fn replace(text: &str, variables: &BTreeMap<String, String>, unset: &mut BTreeSet<String>) -> Result<String, String> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = after.strip_prefix('{') {
            let end = closing(after).ok_or_else(|| format!("{text:?}: a ${{ is not closed"))?;
            let (inner, after) = after.split_at(end);
            out.push_str(&expression(inner, variables, unset)?);
            rest = after.get(1..).unwrap_or_default();
        } else {
            let length = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
            let (name, after) = after.split_at(length);
            if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
                out.push('$');
                out.push_str(name);
            } else {
                out.push_str(&plain(name, variables, unset));
            }
            rest = after;
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// The brace that closes; defaults may hold variables with braces of their own.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn plain(name: &str, variables: &BTreeMap<String, String>, unset: &mut BTreeSet<String>) -> String {
    variables.get(name).cloned().unwrap_or_else(|| {
        unset.insert(name.to_owned());
        String::new()
    })
}

fn expression(inner: &str, variables: &BTreeMap<String, String>, unset: &mut BTreeSet<String>) -> Result<String, String> {
    let length = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
    let (name, operator) = inner.split_at(length);
    if name.is_empty() {
        return Err(format!("\"${{{inner}}}\" names no variable"));
    }
    let value = variables.get(name);
    let filled = value.filter(|value| !value.is_empty());
    let mut default = |text: &str| replace(text, variables, unset);
    if operator.is_empty() {
        return Ok(plain(name, variables, unset));
    }
    if let Some(text) = operator.strip_prefix(":-") {
        return filled.map_or_else(|| default(text), |value| Ok(value.clone()));
    }
    if let Some(text) = operator.strip_prefix('-') {
        return value.map_or_else(|| default(text), |value| Ok(value.clone()));
    }
    if let Some(text) = operator.strip_prefix(":+") {
        return filled.map_or_else(|| Ok(String::new()), |_| default(text));
    }
    if let Some(text) = operator.strip_prefix('+') {
        return value.map_or_else(|| Ok(String::new()), |_| default(text));
    }
    let demanded = operator.strip_prefix(":?").map(|why| (filled, why)).or_else(|| operator.strip_prefix('?').map(|why| (value, why)));
    if let Some((value, why)) = demanded {
        let why = if why.is_empty() { "the file demands it" } else { why };
        return value.cloned().ok_or_else(|| format!("\"${{{inner}}}\": the variable {name} must be set: {why}"));
    }
    Err(format!("\"${{{inner}}}\" is no variable: write ${{NAME}}, ${{NAME:-default}} or $$ for a dollar sign"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_have_their_values_or_defaults() {
        let variables = BTreeMap::from([("A".to_owned(), "1".to_owned()), ("E".to_owned(), String::new())]);
        let mut unset = BTreeSet::new();
        for (text, replaced) in [
            ("$A-${A}", "1-1"),
            ("${X:-d}${E:-d}${E-d}", "dd"),
            ("${X:-${A}}", "1"),
            ("${A:+y}${E:+n}${E+y}", "yy"),
            ("a$$b $1", "a$b $1"),
            ("${A:?must}", "1"),
        ] {
            assert_eq!(replace(text, &variables, &mut unset).unwrap(), replaced, "{text}");
        }
        assert!(unset.is_empty());
        assert_eq!(replace("x${Q}", &variables, &mut unset).unwrap(), "x");
        assert!(unset.contains("Q"));
        for (text, said) in [
            ("x${IMG:?give an image}", "\"${IMG:?give an image}\": the variable IMG must be set: give an image"),
            ("${E:?}", "\"${E:?}\": the variable E must be set: the file demands it"),
            ("${IMG?no}", "\"${IMG?no}\": the variable IMG must be set: no"),
        ] {
            assert_eq!(replace(text, &variables, &mut unset).unwrap_err(), said);
        }
        assert_eq!(replace("${E?no}", &variables, &mut unset).unwrap(), "");
        assert!(replace("${A", &variables, &mut unset).is_err() && replace("${A!b}", &variables, &mut unset).is_err());
    }
}
