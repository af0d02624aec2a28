//! The API server's own record of who asked what and when.
use jiff::Timestamp;
use serde_json::Value;

use super::machine::Cluster;

/// One request.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) user: String,
    pub(crate) verb: String,
    /// `deployments`, `meshservices/status`.
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) at: Timestamp,
    pub(crate) code: i64,
}

impl Asked {
    /// Whether it changes something: access reviews are posted, and change nothing.
    pub(crate) fn writes(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection") && !self.resource.contains("reviews")
    }

    /// Whether it was carried out.
    pub(crate) fn done(&self) -> bool {
        (200..300).contains(&self.code)
    }
}

impl Cluster {
    /// All requests since a time whose user's name ends like this.
    pub(crate) fn asked(&self, user: &str, since: Timestamp) -> Vec<Asked> {
        let log = std::fs::read_to_string(self.dir().join("audit.log")).unwrap();
        let all = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).map(|line| asked(&line));
        all.filter(|asked| asked.user.ends_with(user) && asked.at >= since).collect()
    }
}

fn asked(line: &Value) -> Asked {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = &line["objectRef"];
    let sub = object["subresource"].as_str().map(|sub| format!("/{sub}")).unwrap_or_default();
    Asked {
        user: text(&line["user"]["username"]),
        verb: text(&line["verb"]),
        resource: format!("{}{sub}", text(&object["resource"])),
        namespace: text(&object["namespace"]),
        name: text(&object["name"]),
        at: line["requestReceivedTimestamp"].as_str().unwrap().parse().unwrap(),
        code: line["responseStatus"]["code"].as_i64().unwrap_or(0),
    }
}
