//! What says that a program works where nothing can be asked: that it has been up for a while. Kubernetes calls it `minReadySeconds`.
use std::time::Duration;

use mesh_api::probe::Probe;

/// So long a program without a port and without a probe must have been up before it counts as ready. More than a second: many a program
/// needs one to find out that it cannot work, and must not have replaced one that does by then.
pub const MINIMUM: Duration = Duration::from_secs(2);

/// How long a program must have been up before it counts as ready; `serves` says that it has a port, on which it is seen to listen.
pub fn minimum(serves: bool, readiness: Option<&Probe>, startup: Option<&Probe>) -> Duration {
    if serves || readiness.is_some() || startup.is_some() { Duration::ZERO } else { MINIMUM }
}
