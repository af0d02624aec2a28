//! What a path names.
use crate::query::decode;

/// A path below `/api/v1` or `/apis/GROUP/VERSION`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ObjectPath {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: Option<String>,
    /// The plural; empty for the group version itself (its discovery).
    pub(crate) plural: String,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
}

/// A parsed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Path {
    /// Something of a group version.
    Object(ObjectPath),
    /// Anything else, its segments joined again: discovery, health, openapi.
    Other(String),
}

impl Path {
    pub(crate) fn parse(path: &str) -> Self {
        let segments: Vec<String> = path.split('/').filter(|segment| !segment.is_empty()).map(|segment| decode(segment, false)).collect();
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        match parts.as_slice() {
            ["api", version, rest @ ..] => object("", version, rest),
            ["apis", group, version, rest @ ..] => object(group, version, rest),
            _ => None,
        }
        .map_or_else(|| Self::Other(parts.join("/")), Self::Object)
    }
}

fn object(group: &str, version: &str, rest: &[&str]) -> Option<ObjectPath> {
    let (namespace, rest) = match rest {
        // `namespaces/N` and its subresources are the namespace itself; anything longer is inside it.
        ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => (None, rest),
        ["namespaces", namespace, rest @ ..] => (Some((*namespace).to_owned()), rest),
        rest => (None, rest),
    };
    let (plural, name, subresource) = match rest {
        [] => ("", None, None),
        [plural] => (*plural, None, None),
        [plural, name] => (*plural, Some(*name), None),
        [plural, name, subresource] => (*plural, Some(*name), Some(*subresource)),
        _ => return None,
    };
    Some(ObjectPath {
        group: group.to_owned(),
        version: version.to_owned(),
        namespace,
        plural: plural.to_owned(),
        name: name.map(str::to_owned),
        subresource: subresource.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> (String, Option<String>, String, Option<String>, Option<String>) {
        match Path::parse(path) {
            Path::Object(ObjectPath { group, version: _, namespace, plural, name, subresource }) => {
                (group, namespace, plural, name, subresource)
            }
            Path::Other(path) => panic!("{path}"),
        }
    }

    #[test]
    fn a_namespace_is_told_from_what_is_in_it() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(at("/api/v1/namespaces"), (String::new(), None, "namespaces".to_owned(), None, None));
        assert_eq!(at("/api/v1/namespaces/a"), (String::new(), None, "namespaces".to_owned(), some("a"), None));
        assert_eq!(at("/api/v1/namespaces/a/status"), (String::new(), None, "namespaces".to_owned(), some("a"), some("status")));
        assert_eq!(at("/api/v1/namespaces/a/pods"), (String::new(), some("a"), "pods".to_owned(), None, None));
        assert_eq!(at("/apis/g/v1/namespaces/a/ws/b%2Dc/scale"), ("g".to_owned(), some("a"), "ws".to_owned(), some("b-c"), some("scale")));
        assert_eq!(at("/apis/g/v1"), ("g".to_owned(), None, String::new(), None, None));
        assert_eq!(Path::parse("/apis/g"), Path::Other("apis/g".to_owned()));
    }
}
