//! The engine's events. They only say where to look: what happened is found by looking.
use std::collections::HashMap;

use bollard::query_parameters::EventsOptions;
use futures::{Stream, StreamExt};

use super::{Engine, Error};

impl Engine {
    /// The labels of every container that something happens to since a time (in seconds since 1970), of those that have this label. Ends
    /// when the engine goes.
    ///
    /// The label is given with its value: a filter by the key alone matches no event.
    pub fn events(
        &self,
        (key, value): (&str, &str),
        since: i64,
    ) -> impl Stream<Item = Result<HashMap<String, String>, Error>> + Send + use<> {
        let filters =
            HashMap::from([("type".to_owned(), vec!["container".to_owned()]), ("label".to_owned(), vec![format!("{key}={value}")])]);
        let options = EventsOptions { since: Some(since.to_string()), until: None, filters: Some(filters) };
        let (engine, docker) = (self.clone(), self.docker().clone());
        docker.events(Some(options)).map(move |event| {
            let event = event.map_err(engine.refused())?;
            Ok(event.actor.and_then(|actor| actor.attributes).unwrap_or_default())
        })
    }
}
