//! What the instances use, for metrics.
use super::{Inner, identity, refusal::refused};
use crate::{Error, InstanceUsage, engine::containers::Status};
use mesh_api::labels;

impl Inner {
    pub(super) async fn usage(&self) -> Result<Vec<InstanceUsage>, Error> {
        let act = || "ask what containers use".to_owned();
        let ours = self.engine.containers(&[(labels::CONTROLLER, &self.controller)]).await;
        let ours = ours.map_err(|error| refused(&self.engine, act(), &error))?;
        let running: Vec<_> = ours.into_iter().filter(|it| it.status == Status::Running).collect();
        let ids: Vec<String> = running.iter().map(|it| it.id.clone()).collect();
        let found = self.engine.stats(&ids).await.map_err(|error| refused(&self.engine, act(), &error))?;
        let of =
            |id: &String| found.get(id).or_else(|| found.iter().find(|(short, _)| id.starts_with(short.as_str())).map(|(_, usage)| usage));
        let usage = running.iter().filter_map(|it| Some((identity::key(|label| it.labels.get(label))?, *of(&it.id)?)));
        Ok(usage.map(|(key, usage)| InstanceUsage { key, cpu: usage.cpu, memory: usage.memory }).collect())
    }
}
