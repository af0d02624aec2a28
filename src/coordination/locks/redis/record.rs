//! How a key is written down in a Redis: as a hash of texts that `HGETALL` shows, with the fields of a Lease.
use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;

use crate::locks::{
    Holding, Key, Kind,
    message::{Change, Record},
};

/// What the keys in Redis are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) prefix: String,
    /// The database: channels are those of all.
    pub(super) database: i64,
}

impl Names {
    /// The record of a key.
    pub(super) fn record(&self, key: &Key) -> String {
        format!("{}{}:{}:{}", self.prefix, key.kind.as_str(), key.namespace, key.name)
    }

    /// Which key a record is of; none if of none.
    pub(super) fn key(&self, record: &str) -> Option<Key> {
        // A namespace has no colon, a name may have.
        let (kind, rest) = record.strip_prefix(&self.prefix)?.split_once(':')?;
        let kind = [Kind::Lock, Kind::Leader].into_iter().find(|known| known.as_str() == kind)?;
        let (namespace, name) = rest.split_once(':')?;
        Some(Key { namespace: namespace.to_owned(), kind, name: name.to_owned() })
    }

    /// The last revision that was given.
    pub(super) fn revision(&self) -> String {
        format!("{}revision", self.prefix)
    }

    /// Which records there are.
    pub(super) fn index(&self) -> String {
        format!("{}index", self.prefix)
    }

    /// Where changes are told.
    pub(super) fn channel(&self) -> String {
        format!("{}changes:{}", self.prefix, self.database)
    }

    /// What was written or told: a record's name, its revision, and its fields; none after it was removed.
    pub(super) fn told(&self, told: Vec<String>) -> Option<(Key, Record)> {
        let mut told = told.into_iter();
        let (name, revision) = (told.next()?, told.next()?.parse().ok()?);
        let mut fields = HashMap::new();
        while let (Some(field), Some(value)) = (told.next(), told.next()) {
            fields.insert(field, value);
        }
        Some((self.key(&name)?, Record { revision, ..record(&fields) }))
    }
}

/// What the fields say.
pub(super) fn record(fields: &HashMap<String, String>) -> Record {
    let revision = number(fields, "revision").unwrap_or(0);
    let transitions = fields.get("transitions").and_then(|text| text.parse().ok()).unwrap_or(0);
    let agent = fields.get("agent").cloned();
    Record { exists: !fields.is_empty(), revision, transitions, watched: true, ours: true, agent, holding: holding(fields, revision) }
}

fn holding(fields: &HashMap<String, String>, revision: u64) -> Option<Holding> {
    let time = |name: &str| fields.get(name).and_then(|text| text.parse().ok()).unwrap_or(Timestamp::UNIX_EPOCH);
    Some(Holding {
        holder: fields.get("holder")?.clone(),
        fence: number(fields, "fence").unwrap_or(revision),
        ttl: Duration::from_secs(number(fields, "ttl")?),
        acquired: time("acquired"),
        renewed: time("renewed"),
        ticket: number(fields, "ticket"),
        metadata: fields.get("metadata").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default(),
    })
}

/// The node of the agent that wrote a record, which calls itself `NODE/STORE`; none of one without a node.
pub(super) fn node(record: &Record) -> Option<String> {
    Some(record.agent.as_ref()?.split_once('/')?.0.to_owned())
}

fn number(fields: &HashMap<String, String>, name: &str) -> Option<u64> {
    fields.get(name)?.parse().ok()
}

/// What is done to the record, as the script knows it, and the fields that it sets.
pub(super) fn change(change: &Change, agent: Option<&str>, now: Timestamp) -> (&'static str, Vec<(&'static str, String)>) {
    match change {
        Change::Take { session, ttl, ticket, metadata, transitions } => {
            let mut fields = vec![
                ("holder", session.to_string()),
                ("ttl", ttl.as_secs().to_string()),
                ("acquired", now.to_string()),
                ("renewed", now.to_string()),
                ("ticket", ticket.to_string()),
                ("transitions", transitions.to_string()),
            ];
            fields.extend(agent.map(|agent| ("agent", agent.to_owned())));
            if !metadata.is_empty() {
                fields.push(("metadata", serde_json::Value::from(metadata.clone()).to_string()));
            }
            ("take", fields)
        }
        // The fence stands in the record since it was taken; and all records are watched.
        Change::Renew { fence: _ } | Change::Mark => ("renew", vec![("renewed", now.to_string())]),
        Change::Free | Change::Remove => ("free", Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::session::Session;

    fn names() -> Names {
        Names { prefix: "mesh:".into(), database: 0 }
    }

    #[test]
    fn a_record_is_of_one_key_whatever_its_name() {
        for kind in [Kind::Lock, Kind::Leader] {
            for name in ["orders/1", "a:b:c", ":", "mesh:lock:x", "ü"] {
                let key = Key { namespace: "shop".into(), kind, name: name.into() };
                assert_eq!(names().key(&names().record(&key)), Some(key));
            }
        }
        for other in ["mesh:revision", "mesh:index", "mesh:changes:0", "other:lock:shop:x", "mesh:lock:x", "mesh:task:shop:x"] {
            assert_eq!(names().key(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let session = Session { instance: "web-1a-0".into(), uid: "u-1".into(), attempt: 2 };
        let metadata = json!({ "why": "nightly" }).as_object().unwrap().clone();
        let (ticket, transitions) = (9_000_000_000_000_000, 3);
        let take = Change::Take { session: session.clone(), ttl: Duration::from_secs(30), ticket, metadata: metadata.clone(), transitions };
        let now: Timestamp = "2026-11-28T01:02:03.000004Z".parse().unwrap();
        let (act, fields) = change(&take, Some("vm/5f1c"), now);
        let mut told = vec!["mesh:lock:shop:x".to_owned(), "41".to_owned(), "fence".to_owned(), "41".to_owned()];
        told.extend(fields.into_iter().flat_map(|(field, value)| [field.to_owned(), value]));
        let holding = Holding {
            holder: session.to_string(),
            fence: 41,
            ttl: Duration::from_secs(30),
            acquired: now,
            renewed: now,
            ticket: Some(ticket),
            metadata,
        };
        let key = Key { namespace: "shop".into(), kind: Kind::Lock, name: "x".into() };
        let record = Record {
            exists: true,
            revision: 41,
            transitions,
            watched: true,
            ours: true,
            agent: Some("vm/5f1c".into()),
            holding: Some(holding),
        };
        assert_eq!(node(&record), Some("vm".to_owned()));
        assert_eq!((act, names().told(told)), ("take", Some((key.clone(), record))));
        let removed = names().told(vec!["mesh:lock:shop:x".to_owned(), "42".to_owned()]);
        assert_eq!(removed, Some((key, Record { revision: 42, watched: true, ours: true, ..Record::default() })));
    }
}
