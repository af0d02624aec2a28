//! Outlasts an API that does not answer for a while: a controller that is started again, a line that is cut. Says that it waits, once per silence.
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{
    exit::{Code, Failure, Result},
    output,
};

/// For so long an API may be silent; as long as `mesh apply` and `mesh delete` wait unless they are told otherwise.
const LIMIT: Duration = Duration::from_secs(120);

/// Between two questions: from this on twice as long each time, to that.
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(4);

/// Since when the API has not answered, and how long the next pause is.
#[derive(Debug, Default)]
pub(super) struct Patience(Option<(Instant, Duration)>);

impl Patience {
    /// The API did not do what it was asked. It is to be asked again after this, which is a pause.
    ///
    /// # Errors
    /// It answered, and refuses; or it has been silent for too long.
    pub(super) async fn bear(&mut self, failure: Failure) -> Result {
        if self.0.is_none() && failure.code == Code::Unreachable {
            output::remark(&format!("mesh: the API does not answer ({}): waiting for it\n", failure.text()));
        }
        sleep(self.pause(failure, Instant::now())?).await;
        Ok(())
    }

    fn pause(&mut self, failure: Failure, now: Instant) -> Result<Duration> {
        if failure.code != Code::Unreachable {
            return Err(failure);
        }
        let (since, pause) = self.0.unwrap_or((now, SHORTEST));
        if now.saturating_duration_since(since) >= LIMIT {
            return Err(failure.context(format!("no answer for {} s", LIMIT.as_secs())));
        }
        self.0 = Some((since, (pause * 2).min(LONGEST)));
        Ok(pause)
    }

    /// The API has answered.
    pub(super) fn answered(&mut self) {
        if self.0.take().is_some() {
            output::remark("mesh: the API answers again\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_outlasted_up_to_a_limit_and_a_refusal_is_not() {
        let silent = || Failure::new(Code::Unreachable, "refused");
        let (mut patience, begun) = (Patience::default(), Instant::now());
        let pauses: Vec<u128> = (0..6).map(|_| patience.pause(silent(), begun).unwrap().as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 4000]);
        assert!(patience.pause(silent(), begun + LIMIT - SHORTEST).is_ok());
        patience.answered();
        assert_eq!(patience.pause(silent(), begun + LIMIT).unwrap(), SHORTEST, "another silence");
        let given_up = patience.pause(silent(), begun + 2 * LIMIT).unwrap_err();
        assert_eq!((given_up.code, given_up.text().as_str()), (Code::Unreachable, "no answer for 120 s: refused"));
        assert_eq!(Patience::default().pause(Failure::new(Code::Failed, "forbidden"), begun).unwrap_err().code, Code::Failed);
    }
}
