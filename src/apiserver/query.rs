//! The query of a request: decoded pairs, and the options that every verb shares.
use crate::{
    schema::{FieldError, Reason},
    status::ApiError,
};

/// Decoded pairs in order. Empty pairs (`?&a=b`, as kube-rs sends) are no pairs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (decode(name, true), decode(value, true)))
                .collect(),
        )
    }

    /// A parameter's value; an empty one counts as absent, as Kubernetes has it.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// True for `true`, `1` and the bare name.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.0.iter().any(|(key, value)| key == name && matches!(value.as_str(), "" | "1" | "t" | "T" | "true" | "True" | "TRUE"))
    }

    /// A whole number that Kubernetes keeps in 64 bits with a sign, and that means nothing below 0.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let invalid =
            |text: &str| ApiError::bad_request(format!("{name}: Invalid value: {text:?}: must be a whole number from 0 to {}", i64::MAX));
        let parse = |text: &str| text.parse().ok().filter(|number| i64::try_from(*number).is_ok()).ok_or_else(|| invalid(text));
        self.get(name).map(parse).transpose()
    }

    /// `resourceVersion` as a revision.
    pub(crate) fn revision(&self) -> Result<Option<u64>, ApiError> {
        let invalid = |text: &str| {
            ApiError::bad_request(format!("resourceVersion: Invalid value: {text:?}: must be a whole number from 0 to {}", u64::MAX))
        };
        self.get("resourceVersion").map(|text| text.parse().map_err(|_| invalid(text))).transpose()
    }

    /// `dryRun=All`; another value is refused, in the name of the options of the verb.
    pub(crate) fn dry_run(&self, options: &str) -> Result<bool, ApiError> {
        match self.get("dryRun") {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => Err(unsupported(options, "dryRun", other, "\"All\"")),
        }
    }

    pub(crate) fn field_validation(&self, options: &str) -> Result<FieldValidation, ApiError> {
        match self.get("fieldValidation") {
            None | Some("Warn") => Ok(FieldValidation::Warn),
            Some("Strict") => Ok(FieldValidation::Strict),
            Some("Ignore") => Ok(FieldValidation::Ignore),
            Some(other) => Err(unsupported(options, "fieldValidation", other, "\"Ignore\", \"Strict\", \"Warn\"")),
        }
    }
}

/// What happens to unknown and doubled fields; they are dropped in every mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Strict,
    Warn,
    Ignore,
}

fn unsupported(options: &str, field: &str, value: &str, supported: &str) -> ApiError {
    let message = format!("Unsupported value: {value:?}: supported values: {supported}");
    ApiError::invalid_kind(options, "meta.k8s.io", "", &[FieldError { reason: Reason::NotSupported, message, field: field.to_owned() }])
}

/// Percent-decoding; in a query `+` is a space. What is no valid escape stands for itself.
pub(crate) fn decode(text: &str, plus: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = after
            .split_first_chunk::<2>()
            .and_then(|(hex, after)| Some((u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?, after)));
        match (first, escaped) {
            (b'%', Some((byte, after))) => {
                bytes.push(byte);
                rest = after;
                continue;
            }
            (b'+', _) if plus => bytes.push(b' '),
            _ => bytes.push(first),
        }
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded_and_empty_pairs_ignored() {
        let query = Query::parse("&watch=true&labelSelector=a%3Db%2Cc+in+%28d%29&x=%zz&empty=");
        assert!(query.flag("watch") && !query.flag("nope"));
        assert_eq!(query.get("labelSelector"), Some("a=b,c in (d)"));
        assert_eq!((query.get("x"), query.get("empty")), (Some("%zz"), None));
    }

    #[test]
    fn a_number_out_of_range_is_refused_by_the_name_of_its_parameter() {
        let number =
            |text: &str| Query::parse(&format!("limit={text}")).number("limit").map_err(|error| error.to_value()["message"].to_string());
        assert_eq!(number("9223372036854775807"), Ok(Some(i64::MAX.unsigned_abs())));
        for wrong in ["9223372036854775808", "18446744073709551615", "18446744073709551616", "-1", "1.5", "x"] {
            let error = number(wrong).unwrap_err();
            assert!(error.contains("limit: Invalid value") && error.contains(wrong), "{error}");
        }
        let error = Query::parse("resourceVersion=18446744073709551616").revision().unwrap_err();
        assert_eq!(error.code(), 400);
    }
}
