//! The last words of a run: the end of what its program wrote, or the beginning of what a service answered.
use std::time::Duration;

use futures::StreamExt;
use tokio::time::timeout;

use super::{agent::Agent, requests::KEPT};
use mesh_api::{MeshInstance, MeshInstanceStatus};
use mesh_backend::LogQuery;
use mesh_plan::{
    instance::{InstanceKey, Observed},
    task,
};

/// So many lines of the output.
const LINES: u64 = 5;
/// Reading them takes no longer: they are no reason to hold up the run's end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Puts the last words of a try that has ended into the status that is about to be written.
pub(super) async fn note(agent: &Agent, instance: &MeshInstance, key: &InstanceKey, observed: &Observed, status: &mut MeshInstanceStatus) {
    let old = instance.status.as_ref();
    let ended = instance.spec.run.is_some() && matches!(observed, Observed::Exited(_));
    if !ended || old.is_some_and(|old| old.completion_time.is_some() || (old.last_exit == status.last_exit && old.last_words.is_some())) {
        return;
    }
    let words =
        if task::request(instance).is_some() { agent.requests.words(&key.uid).unwrap_or_default() } else { output(agent, key).await };
    status.last_words = Some(words).filter(|words| !words.is_empty());
}

/// The end of the output. What cannot be read is not told: the log itself says why.
async fn output(agent: &Agent, key: &InstanceKey) -> String {
    let query = LogQuery { tail_lines: Some(LINES), ..LogQuery::default() };
    let mut stream = agent.backend.logs(key, query);
    let mut bytes = Vec::new();
    let read = async {
        while let Some(Ok(more)) = stream.next().await {
            bytes.extend_from_slice(&more);
            let surplus = bytes.len().saturating_sub(KEPT);
            bytes.drain(..surplus);
        }
    };
    // What has come by then is what there is.
    let _ = timeout(PATIENCE, read).await;
    String::from_utf8_lossy(&bytes).trim_end().to_owned()
}
