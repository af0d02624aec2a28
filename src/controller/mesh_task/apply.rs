//! Carries out what was decided for a task: runs ended, made and removed.
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{Context, Planned, dereference::World};
use crate::{Error, api, mesh_task::dereference::dereference, notes::Note, writes};
use mesh_api::{MeshInstance, MeshTask, instance::Cancelled, labels, names};
use mesh_coordination::schedule::slot_name;
use mesh_kit::clock;
use mesh_plan::{
    task::{self, Which},
    validate::Refusal,
};

/// What has come of it.
#[derive(Default)]
pub(super) struct Done {
    /// A run was made for this time of the schedule.
    pub(super) started: Option<Timestamp>,
    /// The time waits for runs that are being ended.
    pub(super) waits: bool,
}

/// Ends what is to be replaced, and makes the run of a time that has come once that is gone.
pub(super) async fn apply(context: &Context, task: &MeshTask, planned: &Planned, world: &World) -> Result<Done, Error> {
    let (Ok(program), Some(decision)) = (&planned.program, planned.decision()) else { return Ok(Done::default()) };
    let Some(slot) = decision.start else { return Ok(Done::default()) };
    let runs: Api<MeshInstance> = Api::namespaced(context.client.clone(), &task.namespace().unwrap_or_default());
    if !decision.replace.is_empty() {
        for run in world.runs.iter().filter(|run| decision.replace.contains(&run.name_any())) {
            cancel(&runs, run, format!("its time was over: that of {slot} has come")).await?;
        }
        return Ok(Done { started: None, waits: true });
    }
    let placed = world.runs.iter().filter(|run| !task::is_finished(run)).map(|run| &run.spec.node_name);
    let Some(node) = world.nodes.least(placed) else { return Ok(Done { started: None, waits: true }) };
    let which = Which { name: slot_name(&task.name_any(), slot), scheduled: Some(slot), before: None, args: None };
    let run = task::run(task, program, world.service.as_ref(), which, node.clone());
    match runs.create(&PostParams { field_manager: Some(labels::FIELD_MANAGER.to_owned()), ..PostParams::default() }, &run).await {
        Ok(_) => {
            context.notes.publish(task, Note::normal("RunStarted", format!("made {}", run.name_any())));
        }
        // It was made before a crash.
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => return Err(api("create the run of MeshTask")(error)),
    }
    Ok(Done { started: Some(slot), waits: false })
}

/// Tells a run to end before its program does, once.
async fn cancel(runs: &Api<MeshInstance>, run: &MeshInstance, why: String) -> Result<(), Error> {
    if run.spec.run.as_ref().is_some_and(|run| run.cancelled.is_some()) {
        return Ok(());
    }
    let cancelled = Cancelled { at: Time(clock::now()), why };
    let patch = json!({ "metadata": { "uid": run.uid() }, "spec": { "run": { "cancelled": cancelled } } });
    let params = PatchParams { field_manager: Some(labels::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    match runs.patch(&run.name_any(), &params, &Patch::Merge(&patch)).await {
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        result => result.map(drop).map_err(api("cancel the run of MeshTask")),
    }
}

/// Removes finished runs beyond as many as the spec keeps.
pub(super) async fn prune(client: &Client, task: &MeshTask, world: &World) -> Result<(), Error> {
    let runs: Api<MeshInstance> = Api::namespaced(client.clone(), &task.namespace().unwrap_or_default());
    for old in task::surplus(task, &world.runs, task::standing) {
        writes::delete(&runs, &old.name_any(), &DeleteParams::background(), "delete the run of MeshTask").await?;
    }
    Ok(())
}

/// A run that somebody asks for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Its name; one that nobody has if left out.
    pub name: Option<String>,
    /// The service of which a new revision waits for it.
    pub before: Option<String>,
    /// Arguments in the place of the task's own.
    pub args: Option<Vec<String>>,
}

impl Asked {
    /// What the run is called.
    pub(crate) fn name(&self, task: &MeshTask) -> String {
        self.name.clone().unwrap_or_else(|| names::run(&task.name_any(), &format!("manual-{}", rand::random::<u32>())))
    }
}

/// Why a run that was asked for was not made.
#[derive(Debug, thiserror::Error)]
pub enum NotMade {
    /// The task cannot run.
    #[error("{0}")]
    Refused(String),
    /// The API said no.
    #[error(transparent)]
    Api(#[from] Error),
}

impl From<Refusal> for NotMade {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.message)
    }
}

/// Makes a run that somebody asks for, whatever the schedule says. One of its name that is there already is that run.
///
/// # Errors
/// Why it cannot run, or what the API said.
pub async fn ask(client: &Client, task: &MeshTask, asked: Asked) -> Result<MeshInstance, NotMade> {
    let world = dereference(client, task).await?;
    let program = task::program(task, world.service.as_ref(), world.nodes.backend())?;
    let node = match world.nodes.none() {
        Some(refusal) => return Err(refusal.into()),
        None => world.nodes.least(world.runs.iter().map(|run| &run.spec.node_name)).cloned().unwrap_or_default(),
    };
    let which = Which { name: asked.name(task), scheduled: None, before: asked.before, args: asked.args };
    let run = task::run(task, &program, world.service.as_ref(), which, node);
    let runs: Api<MeshInstance> = Api::namespaced(client.clone(), &task.namespace().unwrap_or_default());
    Ok(writes::create_or_get(&runs, &run, "create the run of MeshTask").await?)
}
