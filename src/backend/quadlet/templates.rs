//! The base templates of `quadlet-templates/`: static keys only, read by the same parser as everything else. No text is ever put into them.
use std::sync::LazyLock;

use super::{parse, unit::Unit};

macro_rules! templates {
    ($($name:ident $file:literal $doc:literal;)*) => {
        $(
            #[doc = $doc]
            pub fn $name() -> Unit {
                static UNIT: LazyLock<Unit> = LazyLock::new(|| read(include_str!(concat!("../../../quadlet-templates/", $file))));
                UNIT.clone()
            }
        )*

        /// Their names and texts.
        pub const ALL: &[(&str, &str)] = &[$(($file, include_str!(concat!("../../../quadlet-templates/", $file)))),*];
    };
}

templates! {
    container "instance.container" "An instance.";
    plain_container "instance.service" "An instance, for a Podman without Quadlet.";
    task "task.container" "A run of a task.";
    plain_task "task.service" "A run of a task, for a Podman without Quadlet.";
    job "job.container" "A task that systemd runs without a controller.";
    plain_job "job.service" "A task that systemd runs without a controller, for a Podman without Quadlet.";
    timer "job.timer" "When such a task runs.";
    oneshot "oneshot.service" "A network or volume, for a Podman without Quadlet.";
    network "app.network" "A network.";
    volume "claim.volume" "A volume.";
    image "pull.image" "An image.";
    pod "app.pod" "A pod.";
    router_socket "router.socket" "The router's socket.";
    router_service "router.service" "The router.";
}

/// A test reads all of them, so that this never finds a mistake.
fn read(text: &str) -> Unit {
    parse::unit(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_a_unit() {
        for (name, text) in ALL {
            let unit = parse::unit(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(!unit.entries().is_empty(), "{name}");
        }
    }
}
