//! What is held, as the Leases say, or the Redis that keeps it.
use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, api::ListParams};
use serde_json::{Value, json};

use super::{held::unreachable, in_redis, namespace};
use crate::{
    age::age,
    coordination::CoordinationArgs,
    exit::Result,
    output,
    table::table,
    target::{Connection, Target},
};
use mesh_api::labels;
use mesh_coordination::locks::{Held, Kind, lease};
use mesh_kit::clock;

/// So much of a name stands in the table: the most of a Kubernetes label.
const SHOWN: usize = 63;

/// How they are listed.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Of all namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// As a JSON array.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    coordination: CoordinationArgs,
}

impl List {
    /// Lists them as ours.
    pub(super) async fn run(self, target: Target, kind: Kind) -> Result {
        self.list(target, kind, value).await
    }

    /// Lists them in the form of the first seed. Its list of locks has the leaders too.
    pub(super) async fn run_as_seed(self, target: Target, kind: Kind) -> Result {
        self.list(target, kind, seed).await
    }

    async fn list(self, target: Target, kind: Kind, value: fn(Kind, &Held) -> Value) -> Result {
        let Some(redis) = in_redis(&self.coordination, &target).await? else {
            return target.with(async |api| self.print(self.leases(api).await?, kind, value)).await;
        };
        let held = redis.held().await.map_err(unreachable)?;
        let namespace = namespace(&target);
        self.print(held.into_iter().filter(|held| self.all_namespaces || held.key.namespace == namespace).collect(), kind, value)
    }

    async fn leases(&self, api: &Connection) -> Result<Vec<Held>> {
        if let Some((node, place)) = api.coordination().await {
            output::complain("mesh", &format!("node {node} keeps its locks in {place}: give --coordination with its URL to see them"));
        }
        let leases: Api<Lease> =
            if self.all_namespaces { Api::all(api.client.clone()) } else { Api::namespaced(api.client.clone(), &api.namespace) };
        let found = leases.list(&ListParams::default().labels(labels::LOCK)).await?;
        let held = found
            .items
            .iter()
            .filter_map(|lease| Some(Held { key: lease::key(lease)?, holding: lease::record(lease).holding?, node: None }));
        let mut held: Vec<_> = held.collect();
        held.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(held)
    }

    fn print(&self, mut held: Vec<Held>, kind: Kind, value: fn(Kind, &Held) -> Value) -> Result {
        held.retain(|held| kind == Kind::Lock || held.key.kind == kind);
        if self.json {
            return output::print_line(&held.iter().map(|held| value(kind, held)).collect::<Value>().to_string());
        }
        if held.is_empty() {
            return output::print_line("(none)");
        }
        let now = clock::now();
        let rows: Vec<_> = held.iter().map(|held| self.row(kind, held, now)).collect();
        let titles: &[&str] = match kind {
            Kind::Lock => &["LOCK", "OWNER", "EXPIRES", "KIND", "FENCE"],
            Kind::Leader => &["GROUP", "LEADER", "EXPIRES", "FENCE"],
        };
        let titles: Vec<&str> = self.all_namespaces.then_some("NAMESPACE").into_iter().chain(titles.iter().copied()).collect();
        output::print(&table(&titles, &rows))
    }

    fn row(&self, kind: Kind, held: &Held, now: Timestamp) -> Vec<String> {
        let Held { key, holding, node: _ } = held;
        let expires = holding.expires();
        let expires = if expires > now { format!("in {}", age(now, expires)) } else { format!("{} ago", age(expires, now)) };
        let namespace = self.all_namespaces.then(|| key.namespace.clone());
        let word = (kind == Kind::Lock).then(|| key.kind.as_str().to_owned());
        let cells = namespace.into_iter().chain([shown(&key.name), shown(&held.owner()), expires]);
        cells.chain(word).chain([holding.fence.to_string()]).collect()
    }
}

/// A name as one cell: what has no width, or another than it seems, is escaped, and the rest of a long one left out.
fn shown(name: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric();
    let escaped: String = name.chars().map(|c| if plain(c) { c.to_string() } else { c.escape_unicode().to_string() }).collect();
    match escaped.char_indices().nth(SHOWN) {
        Some(_) => escaped.chars().take(SHOWN - 1).chain(['…']).collect(),
        None => escaped,
    }
}

fn value(kind: Kind, held: &Held) -> Value {
    let Held { key, holding, node } = held;
    let mut shown = holding.shown(kind, &key.name);
    shown.insert("namespace".to_owned(), json!(key.namespace));
    shown.insert("kind".to_owned(), json!(key.kind.as_str()));
    shown.extend(node.as_ref().map(|node| ("node".to_owned(), json!(node))));
    Value::Object(shown)
}

fn seed(kind: Kind, held: &Held) -> Value {
    let Held { key, holding, node: _ } = held;
    let (name, owner) = match kind {
        Kind::Lock => ("key", "ownerId"),
        Kind::Leader => ("group", "leaderId"),
    };
    json!({
        name: key.name,
        owner: holding.instance(),
        "acquiredAt": holding.acquired,
        "expiresAt": holding.expires(),
        "metadata": holding.metadata,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_the_table_is_one_short_cell_that_says_what_cannot_be_seen() {
        let long = "k".repeat(512);
        let cases = [
            ("invoices/2026 ü", "invoices/2026 ü".to_owned()),
            ("a\u{202e}b\u{200b}", "a\\u{202e}b\\u{200b}".to_owned()),
            (&long[..63], long[..63].to_owned()),
            (&long, format!("{}…", &long[..62])),
        ];
        for (name, expected) in cases {
            assert_eq!(shown(name), expected);
        }
    }
}
