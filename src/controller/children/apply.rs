//! Brings the objects of an owner about: writes what is not as rendered, leaves alone what is, and never touches what belongs to somebody else.
mod handover;

use std::time::Duration;

use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Child, Live, Memories, Owner, Rendered,
    drift::{Difference, drift},
    memory::{self, Memory},
    owners,
    refused::{Verdict, verdict},
    value,
};
use crate::{
    Error, api,
    notes::{Note, first_of},
};
use mesh_api::{conditions::service::NAME_TAKEN, labels};
use mesh_plan::validate::Refusal;

/// How the objects stand after it.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// Why not all of them are as they should be.
    pub(crate) refusal: Option<Refusal>,
    /// Who fights over fields of them.
    pub(crate) contest: Option<String>,
    /// When to look again.
    pub(crate) wake: Option<Duration>,
    /// Another process leads, or the namespace goes: nothing is to be said.
    pub(crate) quiet: bool,
}

/// How one object stands.
enum Settled {
    Fine,
    Written(Written),
    Wait(Duration),
    Refused(Refusal, Duration),
    Quiet,
}

/// What was done to an object, and is worth an event.
enum Written {
    Made,
    Changed,
    /// It was not as it had been written: these fields.
    PutBack(String),
    Deleted,
}

/// What is at hand while one object is seen to.
struct Settling<'a, K> {
    owner: &'a Owner<'a, K>,
    api: Api<DynamicObject>,
    child: &'a Child,
    now: Instant,
}

impl<K: Resource<DynamicType = ()>> Owner<'_, K> {
    /// Sees to all of them, in their order; the first refusal ends it, for the rest is of no use without it.
    pub(crate) async fn apply(&self, children: &[Child], memories: &Memories) -> Result<Applied, Error> {
        let mut memory = memories.with(self.object, |remembered| std::mem::take(&mut remembered.memory));
        let applied = self.settle(children, &mut memory).await;
        memories.with(self.object, |remembered| remembered.memory = memory);
        applied
    }

    async fn settle(&self, children: &[Child], memory: &mut Memory) -> Result<Applied, Error> {
        let now = Instant::now();
        let (mut applied, mut done) = (Applied::default(), Done::default());
        let wake = |at: Duration, applied: &mut Applied| applied.wake = Some(applied.wake.map_or(at, |wake| wake.min(at)));
        for child in children {
            let api = Api::namespaced_with(self.client.clone(), &self.object.namespace().unwrap_or_default(), &child.resource);
            let settling = Settling { owner: self, api, child, now };
            let remembered = memory.children.entry(child.to_string()).or_default();
            let quiet_in = remembered.quieten(now);
            let settled = match &child.wanted {
                Some(wanted) => settling.settle(wanted, remembered).await?,
                None => settling.retire().await?,
            };
            if let Some(quiet_in) = quiet_in {
                wake(quiet_in, &mut applied);
            }
            match settled {
                Settled::Fine => {}
                Settled::Written(written) => done.add(&child.to_string(), written),
                Settled::Wait(left) => wake(left, &mut applied),
                Settled::Refused(refusal, again) => {
                    wake(again, &mut applied);
                    applied.refusal = Some(refusal);
                    break;
                }
                Settled::Quiet => return Ok(Applied { quiet: true, ..Applied::default() }),
            }
        }
        for note in done.notes(&K::kind(&())) {
            self.notes.publish(self.object, note);
        }
        let contests: Vec<&str> = memory.children.values().filter_map(|child| child.contest.as_deref()).collect();
        applied.contest = (!contests.is_empty()).then(|| contests.join("; "));
        Ok(applied)
    }
}

impl<K: Resource<DynamicType = ()>> Settling<'_, K> {
    async fn settle(&self, wanted: &Rendered, memory: &mut memory::Child) -> Result<Settled, Error> {
        let live = match &self.child.live {
            Some(live) if !live.is_ours => return self.taken_in_sight(live, wanted, memory).await,
            // What is being deleted is made anew when it has gone.
            Some(live) if live.is_deleted => return Ok(Settled::Fine),
            live => live.as_ref(),
        };
        let differences = live.map(|live| memory.unexplained(drift(&wanted.body, &live.object)));
        if differences.as_ref().is_some_and(Vec::is_empty) {
            memory.settled = Some(wanted.hash.clone());
            memory.clear();
            return Ok(Settled::Fine);
        }
        let differences = differences.unwrap_or_default();
        if let Some(left) = memory.is_behind(live.and_then(|live| live.version.as_deref()), self.now) {
            return Ok(Settled::Wait(left));
        }
        if let Some((refusal, left)) = memory.refused(&wanted.hash, self.now) {
            return Ok(Settled::Refused(refusal, left));
        }
        let is_heal = memory.settled.as_ref() == Some(&wanted.hash);
        if let Some(wait) = memory.healing_waits(self.now).filter(|_| is_heal) {
            return Ok(Settled::Wait(wait));
        }
        if live.is_none()
            && let Some(settled) = self.unseen(wanted, memory).await?
        {
            return Ok(settled);
        }
        self.write(wanted, live, &differences, is_heal, memory).await
    }

    /// Asks the API itself whether there is something of the name that the cache does not show.
    async fn unseen(&self, wanted: &Rendered, memory: &mut memory::Child) -> Result<Option<Settled>, Error> {
        let found = match self.api.get_opt(&self.child.name).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(error) => return self.failed(error, wanted, memory).map(Some),
        };
        let live = Live::of(&found, self.owner.object);
        if live.is_ours {
            return Ok(Some(Settled::Wait(Duration::from_secs(1))));
        }
        Ok(Some(self.taken(&found, wanted, memory)))
    }

    /// Somebody else's object of the name, seen in the cache: who wrote it, the API is asked once in a while.
    async fn taken_in_sight(&self, live: &Live, wanted: &Rendered, memory: &mut memory::Child) -> Result<Settled, Error> {
        let seen = format!("{} {}", wanted.hash, live.uid.as_deref().unwrap_or_default());
        if let Some((refusal, left)) = memory.refused(&seen, self.now) {
            return Ok(Settled::Refused(refusal, left));
        }
        let Some(found) = self.api.get_opt(&self.child.name).await.map_err(api("look at an object of the name"))? else {
            return Ok(Settled::Wait(Duration::from_secs(1)));
        };
        let refusal = self.name_taken(&found);
        let again = memory.refuse(&seen, refusal.clone(), false, self.now);
        Ok(Settled::Refused(refusal, again))
    }

    fn taken(&self, found: &DynamicObject, wanted: &Rendered, memory: &mut memory::Child) -> Settled {
        let refusal = self.name_taken(found);
        let again = memory.refuse(&wanted.hash, refusal.clone(), false, self.now);
        Settled::Refused(refusal, again)
    }

    fn name_taken(&self, found: &DynamicObject) -> Refusal {
        let (namespace, name, kind) = (self.owner.object.namespace().unwrap_or_default(), self.owner.object.name_any(), K::kind(&()));
        let controller = found.owner_references().iter().find(|owner| owner.controller == Some(true));
        let whose = match controller {
            Some(owner) if owner.kind == kind && owner.name == name => format!("belongs to an earlier {kind} of this name"),
            Some(owner) => format!("belongs to {} {}", owner.kind, owner.name),
            None => {
                let writers = owners::everybody(found.managed_fields());
                let by = if writers.is_empty() { String::new() } else { format!(" (written by {})", writers.join(", ")) };
                format!("does not belong to this {kind}{by}")
            }
        };
        let plural = &self.child.resource.plural;
        let message = format!(
            "{} is there already and {whose}; it is left alone: delete it (kubectl -n {namespace} delete {plural} {}) or rename it, or give this {kind} another name",
            self.child, self.child.name
        );
        Refusal { reason: NAME_TAKEN, message }
    }

    async fn write(
        &self,
        wanted: &Rendered,
        live: Option<&Live>,
        differences: &[Difference],
        is_heal: bool,
        memory: &mut memory::Child,
    ) -> Result<Settled, Error> {
        if is_heal && memory.heals(self.now) {
            memory.contest = self.contest(live.is_some(), differences).await?.or(memory.contest.take());
        }
        let handed = handover::before(self, wanted, live).await;
        let result = match handed {
            Ok(()) => self.patch(labels::FIELD_MANAGER, wanted.body.clone(), live).await,
            Err(error) => Err(error),
        };
        let written = match result {
            Ok(written) => written,
            Err(error) => return self.failed(error, wanted, memory),
        };
        let version = live.and_then(|live| live.version.clone());
        let is_new = written.resource_version() != version;
        memory.wrote(&wanted.hash, version, drift(&wanted.body, &value(&written)), is_new, self.now);
        if let Some(contest) = memory.contest.as_deref().filter(|_| is_heal) {
            self.owner.notes.publish(self.owner.object, Note::warning("FieldContested", contest));
            return Ok(Settled::Fine);
        }
        Ok(match (is_new, live.is_some(), is_heal) {
            (false, ..) => Settled::Fine,
            (true, false, _) => Settled::Written(Written::Made),
            (true, true, true) => Settled::Written(Written::PutBack(fields(differences))),
            (true, true, false) => Settled::Written(Written::Changed),
        })
    }

    /// Server-side apply, of the very object that was seen.
    async fn patch(&self, manager: &str, mut body: Value, live: Option<&Live>) -> Result<DynamicObject, kube::Error> {
        if let Some((metadata, uid)) = body.get_mut("metadata").zip(live.and_then(|live| live.uid.clone())) {
            metadata["uid"] = json!(uid);
        }
        self.api.patch(&self.child.name, &PatchParams::apply(manager).force(), &Patch::Apply(&body)).await
    }

    fn failed(&self, error: kube::Error, wanted: &Rendered, memory: &mut memory::Child) -> Result<Settled, Error> {
        match verdict(&error, &self.child.to_string(), self.owner.system_namespace) {
            Verdict::Nothing => Ok(Settled::Quiet),
            Verdict::Refused(refusal) => {
                let again = memory.refuse(&wanted.hash, refusal.clone(), true, self.now);
                Ok(Settled::Refused(refusal, again))
            }
            Verdict::Later => Err(api("apply an object of its owner")(error)),
        }
    }

    /// Who fights over these fields, by the object's own record.
    async fn contest(&self, is_there: bool, differences: &[Difference]) -> Result<Option<String>, Error> {
        if !is_there {
            return Ok(Some(format!(
                "{} is deleted again and again: find out by whom (the API server's audit log), or delete the {}",
                self.child,
                K::kind(&())
            )));
        }
        let Some(found) = self.api.get_opt(&self.child.name).await.map_err(api("look who changes an object"))? else { return Ok(None) };
        let paths: Vec<_> = differences.iter().map(|found| found.path.clone()).collect();
        let who = owners::others(found.managed_fields(), &paths);
        let who = if who.is_empty() { "somebody".to_owned() } else { format!("field manager {}", who.join(", ")) };
        let fields = fields(differences);
        Ok(Some(format!(
            "{who} changes {fields} of {} again and again, and it is put back ever more slowly: stop that, or say it in the {}",
            self.child,
            K::kind(&())
        )))
    }

    /// It is not wanted: what is ours goes.
    async fn retire(&self) -> Result<Settled, Error> {
        let Some(live) = self.child.live.as_ref().filter(|live| live.is_ours && !live.is_deleted) else { return Ok(Settled::Fine) };
        let this = Preconditions { uid: live.uid.clone(), resource_version: None };
        match self.api.delete(&self.child.name, &DeleteParams::background().preconditions(this)).await {
            // Gone already, or another one by now.
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(Settled::Fine),
            Err(error) => match verdict(&error, &self.child.to_string(), self.owner.system_namespace) {
                Verdict::Nothing => Ok(Settled::Quiet),
                Verdict::Refused(refusal) => Ok(Settled::Refused(refusal, Duration::from_secs(30))),
                Verdict::Later => Err(api("delete an object of its owner")(error)),
            },
            Ok(_) => Ok(Settled::Written(Written::Deleted)),
        }
    }
}

/// What was done, an event for each kind of deed: what is made is one line, not five.
#[derive(Default)]
struct Done {
    made: Vec<String>,
    changed: Vec<String>,
    put_back: Vec<String>,
    deleted: Vec<String>,
}

impl Done {
    fn add(&mut self, child: &str, written: Written) {
        match written {
            Written::Made => self.made.push(child.to_owned()),
            Written::Changed => self.changed.push(child.to_owned()),
            Written::PutBack(fields) => self.put_back.push(format!("{fields} of {child}")),
            Written::Deleted => self.deleted.push(child.to_owned()),
        }
    }

    fn notes(self, kind: &str) -> impl Iterator<Item = Note> {
        let note = |reason, verb: &str, what: &[String], why: &str| {
            (!what.is_empty()).then(|| Note::normal(reason, format!("{verb} {}{why}", what.join(", "))))
        };
        [
            note("Created", "made", &self.made, ""),
            note("Updated", "changed", &self.changed, ""),
            note("Healed", "put back", &self.put_back, &format!(", as the {kind} says")),
            note("Deleted", "deleted", &self.deleted, ", which is not needed any more"),
        ]
        .into_iter()
        .flatten()
    }
}

/// Some of the fields, for people; our own mark is none.
fn fields(differences: &[Difference]) -> String {
    const SHOWN: usize = 3;
    let names: Vec<String> =
        differences.iter().map(|found| found.path.to_string()).filter(|path| !path.contains(labels::RENDERED)).collect();
    if names.is_empty() { "its annotation".to_owned() } else { first_of(&names, SHOWN) }
}
