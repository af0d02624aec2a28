//! Reads and writes of a key's Lease. Each has its time; every write is against the revision that was read.
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use tokio::time::timeout;

use super::{
    Key, Kind, lease,
    message::{Change, Failed, Record},
};
use mesh_api::labels;
use mesh_kit::clock;

/// A single call waits no longer than this.
const CALL: Duration = Duration::from_secs(5);

pub(super) async fn read(leases: Api<Lease>, key: Key) -> (Key, Result<Record, Failed>) {
    let found = timeout(CALL, leases.get_opt(&lease::name(&key))).await;
    let record = match found {
        Ok(Ok(None)) => Ok(Record::default()),
        Ok(Ok(Some(lease))) => own(&key, &lease),
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => Err(silent()),
    };
    (key, record)
}

/// What a Lease says that has the key's name; it may be that of something else.
fn own(key: &Key, found: &Lease) -> Result<Record, Failed> {
    match found.metadata.annotations.as_ref().and_then(|annotations| annotations.get(labels::LOCK_KEY)) {
        Some(other) if *other != key.name => {
            Err(Failed::Away(format!("Lease {} is that of {other:?}: choose another name, or delete it", lease::name(key))))
        }
        _ => Ok(lease::record(found)),
    }
}

pub(super) async fn write(leases: Api<Lease>, key: Key, revision: Option<u64>, change: Change) -> (Key, Result<Record, Failed>) {
    let written = timeout(CALL, change_lease(&leases, &key, revision, &change)).await;
    (key, written.unwrap_or_else(|_| Err(silent())))
}

async fn change_lease(leases: &Api<Lease>, key: &Key, revision: Option<u64>, change: &Change) -> Result<Record, Failed> {
    let (name, now) = (lease::name(key), clock::now());
    let manager = Some(labels::FIELD_MANAGER.to_owned());
    let Some(revision) = revision else {
        let params = PostParams { field_manager: manager, ..PostParams::default() };
        return leases.create(&params, &lease::made(key, change, now)).await.map(|lease| lease::record(&lease)).map_err(failed);
    };
    if key.kind == Kind::Lock && *change == Change::Free {
        let preconditions = Preconditions { resource_version: Some(revision.to_string()), uid: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        return match leases.delete(&name, &params).await {
            // The revision of the removal is seen by the watch.
            Ok(_) => Ok(Record { revision, ..Record::default() }),
            Err(error) => Err(failed(error)),
        };
    }
    let params = PatchParams { field_manager: manager, ..PatchParams::default() };
    let patch = Patch::Merge(lease::patch(key, revision, change, now));
    leases.patch(&name, &params, &patch).await.map(|lease| lease::record(&lease)).map_err(failed)
}

/// Another was first, or nothing can be said.
fn failed(error: kube::Error) -> Failed {
    match error {
        kube::Error::Api(status) if status.code == 409 || status.code == 404 => Failed::Conflict,
        error => Failed::Away(mesh_kit::watch::refused::Chain(&error).to_string()),
    }
}

fn silent() -> Failed {
    Failed::Away("the API did not answer in time".to_owned())
}
