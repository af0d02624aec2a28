//! Writes the status of a service, if it has changed.
use std::time::Duration;

use kube::runtime::controller::Action;

use super::{Context, dereference::World};
use crate::{
    Error,
    children::{Applied, is_of},
    mesh_service,
};
use mesh_api::{
    MeshService,
    conditions::service::{FIELD_CONTESTED, UNHONOURED},
};
use mesh_backend::kubernetes::{
    render,
    status::{Facts, status},
};
use mesh_kit::clock;
use mesh_plan::service_status::replicas::Trouble;

/// Writes it, and says when to look again.
pub(super) async fn update_status(
    context: &Context,
    service: &MeshService,
    revision: &str,
    world: &World,
    applied: &Applied,
    gate: Option<Trouble>,
) -> Result<Action, Error> {
    let (new, deadline) = status(&Facts {
        service,
        revision,
        deployment: world.deployment.as_deref().filter(|deployment| is_of(*deployment, service)),
        autoscaled: world.around.autoscaled.is_some(),
        pods: &world.pods,
        slices: &world.slices,
        refusal: applied.refusal.as_ref(),
        conflict: world.conflict.clone(),
        gate,
        degraded: degraded(service, applied),
        now: clock::now(),
    });
    mesh_service::publish_status(&context.client, &context.notes, service, &new).await?;
    let deadline = deadline.and_then(|left| Duration::try_from(left).ok()).map(|left| left + Duration::from_millis(100));
    let wake = applied.wake.into_iter().chain(deadline).min();
    Ok(wake.map_or_else(Action::await_change, Action::requeue))
}

fn degraded(service: &MeshService, applied: &Applied) -> Option<Trouble> {
    let unhonoured = render::unhonoured(&service.spec);
    match (&applied.contest, unhonoured) {
        (Some(contest), Some(unhonoured)) => Some((FIELD_CONTESTED, format!("{contest}; {unhonoured}"))),
        (Some(contest), None) => Some((FIELD_CONTESTED, contest.clone())),
        (None, Some(unhonoured)) => Some((UNHONOURED, unhonoured)),
        (None, None) => None,
    }
}
