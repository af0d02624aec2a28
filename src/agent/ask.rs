//! What is asked for, read from path, query and body; what is wrong is named by its field.
use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::problem::Problem;
use mesh_coordination::locks::{Ask, Kind, MAX_KEY, MAX_METADATA, MAX_TTL, is_ttl, wrong_name};
use mesh_kit::meant::did_you_mean;

/// Where nothing is said.
const TTL: Duration = Duration::from_secs(30);
/// Numbers that every JSON parser keeps.
const MAX_NUMBER: u64 = 1 << 53;

/// The name in a path.
pub(crate) fn name(kind: Kind, segment: &str) -> Result<String, Problem> {
    let remedy = format!("1 to {MAX_KEY} bytes of text without control characters, percent-encoded as one segment of the path");
    let invalid = |detail: String| Problem::invalid(kind.field(), detail, remedy.clone());
    let name = percent_decode_str(segment).decode_utf8().map_err(|_| invalid("it is no UTF-8".to_owned()))?;
    wrong_name(&name).map_or_else(|| Ok(name.into_owned()), |wrong| Err(invalid(wrong)))
}

/// The body, as an object with no other members than these.
pub(crate) fn object(body: &[u8], members: &[&str]) -> Result<Map<String, Value>, Problem> {
    let example = "a JSON object";
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    let value = serde_json::from_slice(body).map_err(|error| Problem::invalid("body", error.to_string(), example))?;
    let Value::Object(object) = value else { return Err(Problem::invalid("body", "it is no object", example)) };
    match object.keys().find(|name| !members.contains(&name.as_str())) {
        Some(other) => {
            let detail = format!("there is no such member here{}", did_you_mean(other, members.iter().copied()));
            Err(Problem::invalid(other, detail, format!("the members are {}", members.join(", "))))
        }
        None => Ok(object),
    }
}

/// The body of a request for a lock or the lead; `wait` is how long it waits where nothing is said.
pub(crate) fn ask(body: &[u8], wait: Option<Duration>) -> Result<Ask, Problem> {
    let object = object(body, &["ttl", "wait", "metadata", "ticket"])?;
    let ttl = duration(&object, "ttl")?.unwrap_or(TTL);
    if !is_ttl(ttl) {
        return Err(Problem::invalid("ttl", format!("{ttl:?} is not possible"), "whole seconds, from 1s to 24h; 30s if left out"));
    }
    let wait = duration(&object, "wait")?.map_or(wait, Some);
    if wait.is_some_and(|wait| wait > MAX_TTL) {
        return Err(Problem::invalid("wait", "it is longer than a day", "a duration from 0s to 24h"));
    }
    let metadata = match object.get("metadata") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(metadata)) if Value::Object(metadata.clone()).to_string().len() <= MAX_METADATA => metadata.clone(),
        Some(_) => {
            return Err(Problem::invalid(
                "metadata",
                "it is no object, or too large",
                format!("a JSON object of at most {MAX_METADATA} bytes"),
            ));
        }
    };
    Ok(Ask { ttl, wait, metadata, ticket: ticket(&object)? })
}

/// The body of a renewal.
pub(crate) fn renewal(body: &[u8]) -> Result<u64, Problem> {
    number(&object(body, &["fence"])?, "fence")?.ok_or_else(no_fence)
}

/// The fence in a query.
pub(crate) fn fence(query: Option<&str>) -> Result<Option<u64>, Problem> {
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let mut fence = None;
    for pair in pairs {
        match pair.split_once('=') {
            Some(("fence", value)) => fence = Some(value.parse().map_err(|_| no_fence())?),
            _ => return Err(Problem::invalid(pair, "there is no such parameter here", "the one parameter is fence")),
        }
    }
    Ok(fence)
}

pub(crate) fn no_fence() -> Problem {
    Problem::invalid("fence", "it is missing or no number", "the fence of the acquisition, as it was answered")
}

fn number(object: &Map<String, Value>, field: &str) -> Result<Option<u64>, Problem> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().filter(|number| *number <= MAX_NUMBER) {
            Some(number) => Ok(Some(number)),
            None => Err(Problem::invalid(field, format!("{value} is no such number"), "a whole number, as it was answered")),
        },
    }
}

fn ticket(object: &Map<String, Value>) -> Result<Option<String>, Problem> {
    match object.get("ticket") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(ticket)) => Ok(Some(ticket.clone())),
        Some(other) => Err(Problem::invalid("ticket", format!("{other} is no text"), "the ticket of a queued event, as it was told")),
    }
}

fn duration(object: &Map<String, Value>, field: &str) -> Result<Option<Duration>, Problem> {
    let remedy = "a text such as 500ms, 30s, 5m or 1h30m";
    match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            let duration: mesh_api::duration::Duration =
                text.parse().map_err(|_| Problem::invalid(field, format!("{text:?} is no duration"), remedy))?;
            Ok(Some(duration.get()))
        }
        Some(other) => Err(Problem::invalid(field, format!("{other} is no text"), remedy)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said<T: std::fmt::Debug>(result: Result<T, Problem>) -> (String, String) {
        let problem = result.unwrap_err().to_value();
        let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
        assert!(!text("remedy").is_empty(), "{problem}");
        (text("field"), text("detail"))
    }

    #[test]
    fn whatever_is_wrong_is_named_by_its_field_with_what_would_be_right() {
        let of = |body: &str| said(ask(body.as_bytes(), None));
        for (body, field, detail) in [
            (r#"{"ttl":"0s"}"#, "ttl", "0ns is not possible"),
            (r#"{"ttl":"1500ms"}"#, "ttl", "1.5s is not possible"),
            (r#"{"ttl":"87600h"}"#, "ttl", "not possible"),
            (r#"{"ttl":"99999h99999h"}"#, "ttl", "not possible"),
            (r#"{"ttl":30}"#, "ttl", "30 is no text"),
            (r#"{"ttl":"soon"}"#, "ttl", "\"soon\" is no duration"),
            (r#"{"wait":"25h"}"#, "wait", "longer than a day"),
            (r#"{"tttl":"1s"}"#, "tttl", "did you mean \"ttl\"?"),
            (r#"{"ticket":-1}"#, "ticket", "-1 is no text"),
            (r#"{"metadata":[]}"#, "metadata", "no object"),
            ("[]", "body", "no object"),
            ("{", "body", "EOF"),
        ] {
            let (named, said) = of(body);
            assert!(named == field && said.contains(detail), "{body}: {named}: {said}");
        }
        let large = format!(r#"{{"metadata":{{"a":"{}"}}}}"#, "x".repeat(MAX_METADATA));
        assert_eq!(of(&large).0, "metadata");
        for (segment, detail) in [("", "empty"), ("%ff", "no UTF-8"), ("a%0ab", "U+000A"), (&"x".repeat(10_240), "10240 bytes")] {
            let (field, said) = said(name(Kind::Lock, segment));
            assert!(field == "key" && said.contains(detail), "{said}");
        }
        assert_eq!(name(Kind::Leader, "a%2Fb%20%C3%B6").unwrap(), "a/b ö");
        assert_eq!(said(fence(Some("fence=x"))).0, "fence");
        assert_eq!(said(fence(Some("force=1"))).0, "force=1");
        assert_eq!((fence(None).unwrap(), fence(Some("fence=7")).unwrap()), (None, Some(7)));
        assert_eq!(said(renewal(b"")).0, "fence");
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let asked = ask(b" ", Some(Duration::ZERO)).unwrap();
        assert_eq!(asked, Ask { ttl: TTL, wait: Some(Duration::ZERO), metadata: Map::new(), ticket: None });
        let asked = ask(br#"{"ttl":"1m","wait":"500ms","metadata":{"a":1},"ticket":"9.x"}"#, None).unwrap();
        assert_eq!((asked.ttl.as_secs(), asked.wait, asked.ticket), (60, Some(Duration::from_millis(500)), Some("9.x".to_owned())));
    }
}
