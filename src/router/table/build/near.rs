//! Requests stay in the zone or on the node that they come to, where the slices' hints say so. Pure. The rule is kube-proxy's
//! (pkg/proxy/topology.go): hints count only if every ready endpoint of the service has them and one of those is for us; otherwise all get requests.
use k8s_openapi::api::discovery::v1::EndpointHints;

/// Where this router is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Here {
    /// The zone of its node.
    pub zone: Option<String>,
    /// Its node.
    pub node: Option<String>,
}

/// What an endpoint's hints say: none if they name no node (no zone), else whether ours is among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Hints {
    node: Option<bool>,
    zone: Option<bool>,
}

impl Hints {
    pub(super) fn of(said: Option<&EndpointHints>, here: &Here) -> Self {
        let nodes = said.and_then(|hints| hints.for_nodes.as_deref()).unwrap_or_default();
        let zones = said.and_then(|hints| hints.for_zones.as_deref()).unwrap_or_default();
        Self {
            node: (!nodes.is_empty()).then(|| nodes.iter().any(|node| Some(&node.name) == here.node.as_ref())),
            zone: (!zones.is_empty()).then(|| zones.iter().any(|zone| Some(&zone.name) == here.zone.as_ref())),
        }
    }
}

/// Keeps what is near, if there is anything by the rule.
pub(super) fn keep_near<T>(ready: Vec<(T, Hints)>) -> Vec<T> {
    let counts = |of: fn(&Hints) -> Option<bool>| {
        ready.iter().all(|(_, hints)| of(hints).is_some()) && ready.iter().any(|(_, hints)| of(hints) == Some(true))
    };
    let of: Option<fn(&Hints) -> Option<bool>> = if counts(|hints| hints.node) {
        Some(|hints| hints.node)
    } else if counts(|hints| hints.zone) {
        Some(|hints| hints.zone)
    } else {
        None
    };
    ready.into_iter().filter(|(_, hints)| of.is_none_or(|of| of(hints) == Some(true))).map(|(item, _)| item).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn kept(here: &Here, hints: &[Value]) -> String {
        let name = |n: usize| char::from(b'a' + u8::try_from(n).unwrap());
        let all = hints.iter().enumerate().map(|(n, said)| {
            let said: Option<EndpointHints> = serde_json::from_value(said.clone()).unwrap();
            (name(n), Hints::of(said.as_ref(), here))
        });
        keep_near(all.collect()).into_iter().collect()
    }

    #[test]
    fn only_what_is_hinted_at_us_is_picked_if_all_have_hints_and_one_is_for_us() {
        let zone = |names: &[&str]| json!({ "forZones": names.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>() });
        let node = |name: &str, zone: &str| json!({ "forNodes": [{ "name": name }], "forZones": [{ "name": zone }] });
        let here = Here { zone: Some("z1".to_owned()), node: Some("n1".to_owned()) };
        let zone_only = Here { node: None, ..here.clone() };
        for (situation, here, hints, picked) in [
            ("two zones", &here, vec![zone(&["z1"]), zone(&["z2"]), zone(&["z1", "z2"])], "ac"),
            ("one has no hints", &here, vec![zone(&["z1"]), json!(null), zone(&["z2"])], "abc"),
            ("one has empty hints", &here, vec![zone(&["z1"]), json!({ "forZones": [] })], "ab"),
            ("none is for our zone", &here, vec![zone(&["z2"]), zone(&["z3"])], "ab"),
            ("the zone is not known", &Here::default(), vec![zone(&["z1"]), zone(&["z2"])], "ab"),
            ("our node", &here, vec![node("n1", "z1"), node("n2", "z1"), node("n3", "z2")], "a"),
            ("not our node, but our zone", &here, vec![node("n2", "z1"), node("n3", "z2")], "a"),
            ("nodes are hinted at, but not everywhere", &here, vec![node("n1", "z1"), zone(&["z1"]), zone(&["z2"])], "ab"),
            ("the node is not known", &zone_only, vec![node("n1", "z1"), node("n2", "z1"), node("n3", "z2")], "ab"),
            ("there is nothing", &here, vec![], ""),
        ] {
            assert_eq!(kept(here, &hints), picked, "{situation}");
        }
    }
}
