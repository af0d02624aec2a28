//! Rules that may take long are checked beside the threads that answer requests, a few at a time, and for a bounded time.
use std::{sync::Arc, time::Duration};

use serde_json::Value;
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    schema::{FieldError, Schema},
    status::ApiError,
};

/// How many objects are judged at once: it is work of the processor.
const AT_ONCE: usize = 2;
/// How long the rules of one object may take; what one rule can take is bounded by its estimated cost when it is declared.
const TIME: Duration = Duration::from_secs(2);

/// Those who judge.
#[derive(Debug, Clone)]
pub(crate) struct Judges(Arc<Semaphore>);

impl Default for Judges {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Judges {
    /// [`Schema::validate`], elsewhere.
    pub(crate) async fn validate(&self, schema: &Schema, new: &Value, old: Option<&Value>) -> Result<Vec<FieldError>, ApiError> {
        let gone = |error: &dyn std::fmt::Display| ApiError::internal(format!("the object could not be validated: {error}"));
        let place = Arc::clone(&self.0).acquire_owned().await.map_err(|error| gone(&error))?;
        let (schema, new, old) = (schema.clone(), new.clone(), old.cloned());
        let judge = move || {
            let end = Instant::now() + TIME;
            let errors = schema.validate_while(&new, old.as_ref(), &|| Instant::now() < end);
            // Held until here, also if nobody waits any more: the work goes on until it ends.
            drop(place);
            errors
        };
        tokio::task::spawn_blocking(judge).await.map_err(|error| gone(&error))
    }
}
