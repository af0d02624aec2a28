//! In which form an answer is wanted: the `Accept` header.
use crate::status::ApiError;

/// The forms that objects are answered in, all as JSON unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As they are.
    Object,
    /// As they are, in YAML.
    Yaml,
    /// `meta.k8s.io/v1 Table` (or v1beta1), for people.
    Table {
        /// `v1` or `v1beta1`
        version: &'static str,
    },
    /// Their metadata only.
    Metadata,
}

impl Form {
    /// The first of the header's media types that can be answered. No header: JSON.
    pub(crate) fn parse(accept: Option<&str>) -> Result<Self, ApiError> {
        let Some(accept) = accept else { return Ok(Self::Object) };
        accept.split(',').find_map(one).ok_or_else(ApiError::not_acceptable)
    }
}

fn one(media: &str) -> Option<Form> {
    let mut parts = media.split(';').map(str::trim);
    let kind = parts.next()?;
    let parameters: Vec<_> = parts.filter_map(|part| part.split_once('=')).collect();
    let parameter = |name: &str| parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    let json = matches!(kind, "application/json" | "application/*" | "*/*" | "");
    match (parameter("as"), parameter("v")) {
        (None, _) if json => Some(Form::Object),
        (None, _) if matches!(kind, "application/yaml" | "text/yaml") => Some(Form::Yaml),
        (Some("Table"), Some("v1")) if json => Some(Form::Table { version: "v1" }),
        (Some("Table"), Some("v1beta1")) if json => Some(Form::Table { version: "v1beta1" }),
        (Some("PartialObjectMetadata" | "PartialObjectMetadataList"), Some("v1")) if json => Some(Form::Metadata),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_form_that_is_known_wins() {
        let form = |accept| Form::parse(Some(accept)).map_err(|error| error.code().as_u16());
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(form(kubectl), Ok(Form::Table { version: "v1" }));
        assert_eq!(form("application/vnd.kubernetes.protobuf,application/json"), Ok(Form::Object));
        assert_eq!(form("application/vnd.kubernetes.protobuf"), Err(406));
        assert_eq!(form("application/json, */*"), Ok(Form::Object));
        assert_eq!(form("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"), Ok(Form::Metadata));
    }
}
