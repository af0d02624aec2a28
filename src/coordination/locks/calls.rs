//! Reads and writes of a key's Lease, and the watch of all. Each call has its time; every write is against the revision that was read.
use std::time::Duration;

use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    runtime::watcher::{self, Event},
};
use tokio::time::timeout;

use super::{
    Key, Kind, lease,
    message::{Change, Failed, Record, Seen},
};
use mesh_api::labels;
use mesh_kit::clock;

/// A single call waits no longer than this.
const CALL: Duration = Duration::from_secs(5);

/// All Leases that are watched, and what becomes of them.
pub(super) fn watch(leases: Api<Lease>) -> BoxStream<'static, Seen> {
    let config = watcher::Config::default().labels(labels::LOCK);
    let events = mesh_kit::watch::events(leases, config, "locks", |lease| lease.metadata.managed_fields = None);
    events.filter_map(async |event| seen(&event)).boxed()
}

fn seen(event: &Event<Lease>) -> Option<Seen> {
    Some(match event {
        Event::Init => Seen::Listing,
        Event::InitApply(lease) => Seen::Listed(lease::key(lease)?, lease::record(lease)),
        Event::InitDone => Seen::AllListed,
        Event::Apply(lease) => Seen::Changed(lease::key(lease)?, lease::record(lease)),
        Event::Delete(lease) => Seen::Changed(lease::key(lease)?, lease::removed(lease)),
    })
}

pub(super) async fn read(leases: Api<Lease>, key: &Key) -> Result<Record, Failed> {
    let found = timeout(CALL, leases.get_opt(&lease::name(key))).await;
    match found {
        Ok(Ok(None)) => Ok(Record::default()),
        Ok(Ok(Some(lease))) => own(key, &lease),
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => Err(silent()),
    }
}

/// What a Lease says that has the key's name; it may be that of something else.
fn own(key: &Key, found: &Lease) -> Result<Record, Failed> {
    match found.metadata.annotations.as_ref().and_then(|annotations| annotations.get(labels::LOCK_KEY)) {
        Some(other) if *other != key.name => {
            Err(Failed::Refused(format!("Lease {} is that of {other:?}: choose another name, or delete it", lease::name(key))))
        }
        _ => Ok(lease::record(found)),
    }
}

/// Writes for an agent, if that has a name.
pub(super) async fn write(
    leases: Api<Lease>,
    key: &Key,
    revision: Option<u64>,
    change: &Change,
    agent: Option<&str>,
) -> Result<Record, Failed> {
    timeout(CALL, change_lease(&leases, key, revision, change, agent)).await.unwrap_or_else(|_| Err(silent()))
}

async fn change_lease(
    leases: &Api<Lease>,
    key: &Key,
    revision: Option<u64>,
    change: &Change,
    agent: Option<&str>,
) -> Result<Record, Failed> {
    let (name, now) = (lease::name(key), clock::now());
    let manager = Some(labels::FIELD_MANAGER.to_owned());
    let Some(revision) = revision else {
        let params = PostParams { field_manager: manager, ..PostParams::default() };
        return leases.create(&params, &lease::made(key, change, agent, now)).await.map(|lease| lease::record(&lease)).map_err(not_made);
    };
    if *change == Change::Remove || key.kind == Kind::Lock && *change == Change::Free {
        let preconditions = Preconditions { resource_version: Some(revision.to_string()), uid: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        return match leases.delete(&name, &params).await {
            // The revision of the removal is seen by the watch.
            Ok(_) => Ok(Record { revision, ..Record::default() }),
            Err(error) => Err(failed(error)),
        };
    }
    let params = PatchParams { field_manager: manager, ..PatchParams::default() };
    let patch = Patch::Merge(lease::patch(key, revision, change, agent, now));
    leases.patch(&name, &params, &patch).await.map(|lease| lease::record(&lease)).map_err(failed)
}

/// Another was first, it is refused, or nothing can be said.
fn failed(error: kube::Error) -> Failed {
    match error {
        kube::Error::Api(status) if status.code == 409 || status.code == 404 => Failed::Conflict,
        // Who this is may be proven anew; a time or a number that was too much may be less.
        kube::Error::Api(status) if (400..500).contains(&status.code) && ![401, 408, 429].contains(&status.code) => {
            Failed::Refused(status.message)
        }
        error => Failed::Away(mesh_kit::watch::refused::Chain(&error).to_string()),
    }
}

/// What is not found by who makes something is its namespace.
fn not_made(error: kube::Error) -> Failed {
    match error {
        kube::Error::Api(status) if status.code == 404 => Failed::Refused(status.message),
        error => failed(error),
    }
}

fn silent() -> Failed {
    Failed::Away("the API did not answer in time".to_owned())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use kube::core::Status;

    use super::*;

    fn answered(code: u16) -> kube::Error {
        kube::Error::Api(Status { code, message: "words".into(), ..Status::default() }.boxed())
    }

    #[test]
    fn a_refusal_that_does_not_pass_is_told_apart_from_another_write_and_from_no_answer() {
        for code in [400, 403, 413, 422] {
            assert_eq!(failed(answered(code)), Failed::Refused("words".into()), "{code}");
        }
        for code in [404, 409] {
            assert_eq!(failed(answered(code)), Failed::Conflict, "{code}");
        }
        for code in [401, 408, 429, 500, 503, 504] {
            assert!(matches!(failed(answered(code)), Failed::Away(_)), "{code}");
        }
        // The namespace does not exist.
        assert_eq!(not_made(answered(404)), Failed::Refused("words".into()));
        assert_eq!(not_made(answered(409)), Failed::Conflict);
    }

    #[test]
    fn a_lease_that_is_that_of_something_else_is_a_refusal() {
        let key = Key { namespace: "shop".into(), kind: Kind::Lock, name: "x".into() };
        let annotations = Some([(labels::LOCK_KEY.to_owned(), "lock-x".to_owned())].into());
        let lease = Lease { metadata: ObjectMeta { annotations, ..ObjectMeta::default() }, spec: None };
        let refused = Failed::Refused("Lease lock-x is that of \"lock-x\": choose another name, or delete it".to_owned());
        assert_eq!(own(&key, &lease), Err(refused));
    }
}
