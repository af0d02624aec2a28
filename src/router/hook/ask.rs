//! The question of a hook. Pure.

/// `GET /drain/NAMESPACE/POD?uid=UID[&peer=true]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) uid: String,
    /// Another router asks, and for this one's part only.
    pub(super) peer: bool,
}

impl Ask {
    /// From a request's path and query; none if the path is of something else.
    pub(super) fn parse(path: &str, query: Option<&str>) -> Option<Result<Self, String>> {
        let rest = path.strip_prefix("/drain/")?;
        let Some((namespace, pod)) = rest.split_once('/').filter(|(namespace, pod)| is_name(namespace) && is_name(pod)) else {
            return Some(Err("a hook asks GET /drain/NAMESPACE/POD?uid=UID".to_owned()));
        };
        let pairs =
            query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let (mut uid, mut peer) = (None, false);
        for pair in pairs {
            match pair {
                ("uid", value) if is_name(value) => uid = Some(value.to_owned()),
                ("peer", "true") => peer = true,
                ("peer", "false") => peer = false,
                (key, value) => return Some(Err(format!("{key}={value} is nothing that a hook asks: ?uid=UID and &peer=true are"))),
            }
        }
        let Some(uid) = uid else { return Some(Err("the pod's uid is missing: ?uid=UID".to_owned())) };
        Some(Ok(Self { namespace: namespace.to_owned(), pod: pod.to_owned(), uid, peer }))
    }

    /// The same question to another router.
    pub(super) fn to_peer(&self) -> String {
        format!("/drain/{}/{}?uid={}&peer=true", self.namespace, self.pod, self.uid)
    }
}

/// What names and uids of a cluster are made of; nothing else gets into a path.
fn is_name(text: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    (1..=253).contains(&text.len()) && text.chars().all(inside) && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_names_a_pod_and_its_uid() {
        let ask = |peer| Ask { namespace: "shop".into(), pod: "web-1".into(), uid: "u-1".into(), peer };
        for (path, query, asked) in [
            ("/drain/shop/web-1", Some("uid=u-1"), Some(Ok(ask(false)))),
            ("/drain/shop/web-1", Some("uid=u-1&peer=true"), Some(Ok(ask(true)))),
            ("/metrics", None, None),
            ("/drain", None, None),
        ] {
            assert_eq!(Ask::parse(path, query), asked, "{path}?{query:?}");
        }
        assert_eq!(Ask::parse("/drain/shop/web-1", ask(false).to_peer().split_once('?').map(|(_, query)| query)), Some(Ok(ask(true))));
    }

    #[test]
    fn what_is_no_name_gets_nowhere() {
        for (path, query) in [
            ("/drain/shop", Some("uid=u")),
            ("/drain/shop/web/log", Some("uid=u")),
            ("/drain/../pods", Some("uid=u")),
            ("/drain/shop/web%2f1", Some("uid=u")),
            ("/drain/shop/web", None),
            ("/drain/shop/web", Some("uid=")),
            ("/drain/shop/web", Some("uid=a/b")),
            ("/drain/shop/web", Some("uid=u&force=true")),
        ] {
            assert!(matches!(Ask::parse(path, query), Some(Err(_))), "{path}?{query:?}");
        }
    }
}
