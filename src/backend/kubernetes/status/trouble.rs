//! Why a pod is not ready, in a sentence that names the remedy where there is one, and how its program ended. Pure. A service's status says it, and
//! the command line of each pod.
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod, PodStatus};

use mesh_api::{conditions::instance as reason, names::CONTAINER};
use mesh_plan::{service_status::replicas::Trouble, validate::DRAIN_VOLUME};

/// The longest text that is taken from elsewhere; a condition is to be read in a terminal.
const LONGEST: usize = 600;

/// How long a container may run without being ready before that is called a failure.
const PATIENCE: SignedDuration = SignedDuration::from_secs(10);

/// What keeps this pod from being ready: the first of its containers that has something to tell, those that run before the others first.
pub fn of_pod(pod: &Pod, now: Timestamp) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    if let Some(trouble) = unscheduled(status) {
        return Some(trouble);
    }
    let init = status.init_container_statuses.iter().flatten().filter_map(|container| of_container(container, true, now));
    let own = status.container_statuses.iter().flatten().filter_map(|container| of_container(container, false, now));
    let troubles: Vec<Trouble> = init.chain(own).collect();
    // A container that only waits for another is not the one to tell of.
    let is_waiting = |trouble: &&Trouble| [reason::CREATING, reason::INIT_RUNNING].contains(&trouble.0);
    troubles.iter().find(|trouble| !is_waiting(trouble)).or(troubles.first()).cloned()
}

fn unscheduled(status: &PodStatus) -> Option<Trouble> {
    let scheduled = status.conditions.iter().flatten().find(|c| c.type_ == "PodScheduled" && c.status == "False")?;
    Some((reason::UNSCHEDULABLE, short(scheduled.message.as_deref().unwrap_or("no node has taken it yet"))))
}

fn of_container(container: &ContainerStatus, init: bool, now: Timestamp) -> Option<Trouble> {
    let state = container.state.as_ref()?;
    let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let (reason, text) = match (&state.waiting, &state.terminated) {
        (Some(waiting), _) => {
            let message = short(waiting.message.as_deref().unwrap_or_default());
            of_waiting(waiting.reason.as_deref().unwrap_or_default(), &message, container, last)
        }
        (None, Some(ended)) if init && ended.exit_code == 0 => return None,
        (None, Some(ended)) => (reason::BACK_OFF, crashed(container.restart_count + 1, ended)),
        (None, None) if container.ready => return None,
        (None, None) if init => (reason::INIT_RUNNING, "runs, and the others wait for its end".to_owned()),
        (None, None) => unready(container, last, now),
    };
    Some((reason, format!("{}{text}", whose(&container.name, init))))
}

/// The container is not running.
fn of_waiting(why: &str, message: &str, container: &ContainerStatus, last: Option<&ContainerStateTerminated>) -> Trouble {
    let or = |fallback: &str| if message.is_empty() { fallback.to_owned() } else { message.to_owned() };
    let image = &container.image;
    match why {
        "ErrImagePull" | "ImagePullBackOff" | "ImageInspectError" | "RegistryUnavailable" | "SignatureValidationFailed" => {
            (reason::IMAGE_PULL, pull_text(image, message))
        }
        "ErrImageNeverPull" => (reason::IMAGE_NEVER_PULL, or(&format!("image {image} is not on the node, and must not be pulled"))),
        "InvalidImageName" => (reason::IMAGE_INVALID, or(&format!("{image:?} is no name of an image: correct spec.image"))),
        "CreateContainerConfigError" => (reason::CONFIG_MISSING, config_text(message)),
        "CrashLoopBackOff" => match last {
            Some(ended) => (reason::BACK_OFF, crashed(container.restart_count, ended)),
            None => (reason::BACK_OFF, or("it ends again and again")),
        },
        "PodInitializing" => (reason::INIT_RUNNING, "waits for the pod's init containers".to_owned()),
        "ContainerCreating" | "" => (reason::CREATING, or("its containers are being made")),
        other => (reason::START_FAILED, format!("{other}: {}", or("the node could not start it"))),
    }
}

/// The two messages that take turns while a pull is retried are made one, so that the condition stays as it is.
fn pull_text(image: &str, message: &str) -> String {
    let cause = message.split_once("ErrImagePull: ").map_or(message, |(_, cause)| cause);
    if cause.is_empty() || cause.starts_with("Back-off pulling image") {
        return format!("image {image} cannot be pulled");
    }
    format!("image {image} cannot be pulled: {cause}")
}

fn config_text(message: &str) -> String {
    if message.contains("runAsNonRoot") {
        return format!("{message}: set spec.securityContext.runAsUser to the number of a user of the image (0 is root, if it must be)");
    }
    message.to_owned()
}

/// How a container ended, in the words that a VM's instances have; 137 is what one leaves that was killed by signal 9.
pub fn end(ended: &ContainerStateTerminated) -> String {
    let signal = ended.signal.filter(|signal| *signal > 0).or((129..=192).contains(&ended.exit_code).then_some(ended.exit_code - 128));
    match (ended.reason.as_deref(), signal) {
        (Some("OOMKilled"), _) => "was killed because it used more memory than spec.resources.limits.memory (OOMKilled)".to_owned(),
        (Some(reason @ ("StartError" | "ContainerCannotRun")), _) => format!("could not be started ({reason})"),
        (_, Some(signal)) => format!("ended by signal {signal}{}", signal_name(signal)),
        (_, None) => format!("ended with exit code {}", ended.exit_code),
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        2 => " (SIGINT)",
        6 => " (SIGABRT)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        15 => " (SIGTERM)",
        _ => "",
    }
}

fn crashed(times: i32, ended: &ContainerStateTerminated) -> String {
    let how = end(ended);
    let times = if times > 1 { format!(" ({times} times)") } else { String::new() };
    let last_words = short(ended.message.as_deref().unwrap_or_default().trim());
    if last_words.is_empty() { format!("{how}{times}") } else { format!("{how}{times}: {last_words}") }
}

/// When a pod that runs without being ready gets another reason, if it does not change until then.
pub(super) fn patience(pod: &Pod, now: Timestamp) -> Option<SignedDuration> {
    let containers = pod.status.as_ref()?.container_statuses.iter().flatten().filter(|container| !container.ready);
    containers.filter_map(|container| left(container, now)).filter(SignedDuration::is_positive).min()
}

fn left(container: &ContainerStatus, now: Timestamp) -> Option<SignedDuration> {
    let since = container.state.as_ref()?.running.as_ref()?.started_at.as_ref()?.0;
    Some(PATIENCE.saturating_sub(now.duration_since(since)))
}

/// The container runs, and is not ready.
fn unready(container: &ContainerStatus, last: Option<&ContainerStateTerminated>, now: Timestamp) -> Trouble {
    if let Some(ended) = last.filter(|_| container.restart_count > 1) {
        return (reason::BACK_OFF, format!("{}, and it is not ready again yet", crashed(container.restart_count, ended)));
    }
    let probe = if container.started == Some(false) { "startup" } else { "readiness" };
    if left(container, now).is_some_and(|left| !left.is_positive()) {
        return (reason::PROBE_FAILED, format!("runs, and its {probe} probe does not pass: kubectl describe pod says what it answers"));
    }
    (reason::PROBING, format!("runs, and its {probe} probe has not passed yet"))
}

/// Whose trouble it is, where it is not that of the service's own container.
fn whose(name: &str, init: bool) -> String {
    match (name, init) {
        (CONTAINER, false) => String::new(),
        (DRAIN_VOLUME, true) => {
            "init container mesh-drain (brings the drain hook; its image is the controller's --drain-image): ".to_owned()
        }
        (name, true) => format!("init container {name}: "),
        (name, false) => format!("container {name}: "),
    }
}

/// Not longer than a condition can bear.
pub(super) fn short(text: &str) -> String {
    if text.len() <= LONGEST {
        text.to_owned()
    } else {
        format!("{}…", text.get(..text.floor_char_boundary(LONGEST)).unwrap_or_default())
    }
}
