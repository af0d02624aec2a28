//! What mends what is known to go wrong. Read from reasons and messages, as Kubernetes, the engines and we ourselves write them.
use super::report::Report;
use mesh_api::MeshServiceSpec;

/// A fault that can be recognised.
struct Rule {
    /// The text must have one of these; of one with `&` in it, all parts.
    signs: &'static [&'static str],
    /// It is looked for in logs too.
    in_logs: bool,
    /// What to do; told the text that had the sign.
    remedy: fn(&str, Option<&MeshServiceSpec>) -> String,
}

const RULES: &[Rule] = &[
    Rule {
        signs: &["ErrImageNeverPull"],
        in_logs: false,
        remedy: |_, spec| {
            format!(
                "the image {} must be on the machine, because imagePullPolicy is Never: build or load it there, or set spec.imagePullPolicy: IfNotPresent",
                image(spec)
            )
        },
    },
    Rule {
        signs: &["InvalidImageName"],
        in_logs: false,
        remedy: |_, spec| format!("{} is no name of an image: correct spec.image (registry/name:tag, in lower case)", image(spec)),
    },
    Rule { signs: &["ErrImagePull", "ImagePullBackOff"], in_logs: false, remedy: pull },
    Rule {
        signs: &["ImageArchitectureMismatch", "exec format error", "Exec format error"],
        in_logs: true,
        remedy: |_, spec| {
            format!("the image {} is for another kind of processor: build it for this one (podman build --platform …)", image(spec))
        },
    },
    Rule {
        signs: &["runAsNonRoot", "non-numeric user", "image will run as root"],
        in_logs: false,
        remedy: |_, _| {
            "the image runs as root, and pods here may not unless it is said: set spec.securityContext.runAsUser to a user id that the image can run with (for example 65532), or to 0 to let it be root".to_owned()
        },
    },
    Rule {
        signs: &["secret \"", "Secret \"", "in Secret", "references non-existent secret key"],
        in_logs: false,
        remedy: |text, _| missing("secret generic", "Secret", text),
    },
    Rule {
        signs: &["configmap \"", "ConfigMap \"", "in ConfigMap", "references non-existent config key"],
        in_logs: false,
        remedy: |text, _| missing("configmap", "ConfigMap", text),
    },
    Rule {
        signs: &["exceeded quota"],
        in_logs: false,
        remedy: |_, _| {
            "the namespace's quota forbids it: `kubectl describe resourcequota` shows what is used; raise it, or lower spec.replicas or spec.resources".to_owned()
        },
    },
    Rule {
        signs: &["violates PodSecurity"],
        in_logs: false,
        remedy: |_, _| {
            "the namespace's Pod Security forbids it: take what the message names out of spec.securityContext, spec.volumes or spec.kubernetes.podTemplate, or label the namespace pod-security.kubernetes.io/enforce=baseline".to_owned()
        },
    },
    Rule {
        signs: &["Insufficient cpu", "Insufficient memory", "Insufficient ephemeral-storage"],
        in_logs: false,
        remedy: |_, _| {
            "no node has that much left: lower spec.resources.requests or spec.replicas, or add a node (`kubectl describe nodes` shows what is taken)".to_owned()
        },
    },
    Rule {
        signs: &["untolerated taint"],
        in_logs: false,
        remedy: |_, _| {
            "the nodes have taints that its pods do not tolerate: add spec.kubernetes.podTemplate.spec.tolerations, or take the taint off (`kubectl taint nodes NODE KEY-`)".to_owned()
        },
    },
    Rule {
        signs: &["node affinity/selector", "didn't match Pod's node"],
        in_logs: false,
        remedy: |_, _| {
            "no node has the labels that nodeSelector or affinity of spec.kubernetes.podTemplate ask for: label one (`kubectl label node NODE KEY=VALUE`), or change it".to_owned()
        },
    },
    Rule {
        signs: &["persistentvolumeclaim \"", "unbound immediate PersistentVolumeClaims"],
        in_logs: false,
        remedy: |text, _| {
            format!(
                "the claim{} is not there or has no volume: create it (`kubectl get pvc` and `kubectl describe pvc` say what it waits for)",
                quoted(text).map(|name| format!(" {name}")).unwrap_or_default()
            )
        },
    },
    Rule {
        signs: &["no nodes available to schedule"],
        in_logs: false,
        remedy: |_, _| "the cluster has no node that takes pods: `kubectl get nodes` shows why".to_owned(),
    },
    Rule {
        signs: &["EngineUnreachable"],
        in_logs: false,
        remedy: |_, _| {
            "the engine of its machine does not answer: `mesh doctor` there says what stands in the way, `kubectl get mn` which machines there are"
                .to_owned()
        },
    },
    Rule {
        signs: &["NodeExhausted", "ProbeUnknown"],
        in_logs: false,
        remedy: |_, _| {
            "the controller or its machine has run out of what its message names, and goes on by itself once there is some again; for open files raise LimitNOFILE= of its unit (ulimit -Hn), for processes TasksMax="
                .to_owned()
        },
    },
    Rule { signs: &["NoNodeReady"], in_logs: false, remedy: no_node },
    Rule {
        signs: &["NotObserved:"],
        in_logs: false,
        remedy: |_, _| {
            "start a controller for this API: `mesh run`, `mesh-controller`, or in a cluster `mesh-controller --backend kubernetes` (`kubectl -n mesh-system get deploy` shows whether it is there)".to_owned()
        },
    },
    Rule { signs: &["PortTaken"], in_logs: false, remedy: port_taken },
    Rule {
        signs: &["Address already in use", "EADDRINUSE", "address already in use"],
        in_logs: true,
        remedy: |text, spec| {
            if in_container(spec) {
                "a port is taken within its container, so two programs in it listen there: have one of them listen elsewhere; spec.port says which one gets requests".to_owned()
            } else {
                port_taken(text, spec)
            }
        },
    },
    Rule {
        signs: &["CommandNotFound", "executable file not found", "no such file or directory: unknown"],
        in_logs: false,
        remedy: not_found,
    },
    Rule { signs: &["CommandNotExecutable", "permission denied: unknown"], in_logs: false, remedy: not_executable },
    Rule {
        signs: &["WorkingDirNotFound"],
        in_logs: false,
        remedy: |_, spec| {
            format!(
                "make the directory {}, or correct spec.workingDir",
                spec.and_then(|spec| spec.working_dir.clone()).unwrap_or_else(|| "it runs in".to_owned())
            )
        },
    },
    Rule {
        signs: &["OOMKilled"],
        in_logs: false,
        remedy: |_, _| "it needs more memory than it may have: raise spec.resources.limits.memory, or have the program use less".to_owned(),
    },
    Rule { signs: &["NotListening", "robe&onnection refused", "ListensOnLoopbackOnly"], in_logs: false, remedy: not_listening },
    Rule {
        signs: &["robe&statuscode: 404", "robe&HTTP status 404"],
        in_logs: false,
        remedy: |_, spec| format!("the path {} is not there (404): correct it, or have the program answer it", probe_path(spec)),
    },
    Rule {
        signs: &["robe&statuscode: 401", "robe&HTTP status 401", "robe&statuscode: 403", "robe&HTTP status 403"],
        in_logs: false,
        remedy: |_, spec| {
            format!(
                "the path {} asks who it is: name one that needs no login, or give the probe the header (httpGet.httpHeaders)",
                probe_path(spec)
            )
        },
    },
    Rule {
        signs: &[
            "robe&context deadline exceeded",
            "robe&command timed out",
            "probe timed out",
            "robe&no answer within",
            "robe&no end within",
        ],
        in_logs: false,
        remedy: |_, _| {
            "its probe gets no answer in time: raise the probe's timeoutSeconds, or give it more CPU (spec.resources)".to_owned()
        },
    },
    Rule {
        signs: &["Read-only file system", "read-only file system", "EROFS"],
        in_logs: true,
        remedy: |_, _| {
            "it writes where it may not: mount a volume there (spec.volumes with emptyDir, spec.volumeMounts), or set spec.securityContext.readOnlyRootFilesystem: false".to_owned()
        },
    },
    Rule {
        signs: &[
            "Permission denied) while binding",
            "bind() to 0.0.0.0:80 failed (13",
            "EACCES: permission denied 0.0.0.0",
            "listen tcp :80: bind: permission denied",
        ],
        in_logs: true,
        remedy: |_, spec| {
            if in_container(spec) {
                "it may not listen on a port below 1024: have it listen on a higher one and name that in spec.port ($PORT has it), or set spec.securityContext.capabilities.add: [NET_BIND_SERVICE]".to_owned()
            } else {
                "it may not listen on a port below 1024: have it listen on $PORT; the router is who listens on such ports (--router-listen)"
                    .to_owned()
            }
        },
    },
    Rule {
        signs: &["RouteConflict:"],
        in_logs: false,
        remedy: |_, _| {
            "an older service has that route: change spec.route of one of them, or give it a hostname (spec.routes[].hostnames)".to_owned()
        },
    },
    Rule {
        signs: &["HostPathNotFound"],
        in_logs: false,
        remedy: |_, _| "make the path on the machine, or set its type: DirectoryOrCreate in spec.volumes".to_owned(),
    },
];

/// What mends what the report tells; each once, at most five.
pub(super) fn remedies(report: &Report, spec: Option<&MeshServiceSpec>) -> Vec<String> {
    let mut told: Vec<(String, bool)> = Vec::new();
    for instance in &report.instances {
        told.extend(instance.problem.iter().map(|text| (text.clone(), false)));
        told.extend(
            instance.last_exit.iter().map(|exit| (format!("{} {}", exit.text, exit.message.as_deref().unwrap_or_default()), false)),
        );
        told.extend(instance.probes.iter().map(|told| (format!("{}: {}", told.reason, told.message), false)));
        told.extend(instance.log.iter().map(|line| (line.clone(), true)));
    }
    told.extend(report.others.iter().filter_map(|other| Some((other.problem.clone()?, false))));
    told.extend(report.conditions.iter().map(|off| (format!("{}: {}", off.reason, off.message), false)));
    told.extend(report.events.iter().map(|told| (format!("{}: {}", told.reason, told.message), false)));
    let mut remedies = Vec::new();
    for rule in RULES {
        let found = told
            .iter()
            .find(|(text, log)| (!log || rule.in_logs) && rule.signs.iter().any(|sign| sign.split('&').all(|part| text.contains(part))));
        if let Some((text, _)) = found {
            remedies.push((rule.remedy)(text, spec));
        }
    }
    remedies.dedup();
    remedies.truncate(5);
    if remedies.is_empty() { ended(report).into_iter().collect() } else { remedies }
}

/// A program that ends by itself, for a cause that only its author knows.
fn ended(report: &Report) -> Option<String> {
    let (instance, exit) = report.instances.iter().filter(|instance| !instance.ready).find_map(|i| Some((i, i.last_exit.as_ref()?)))?;
    Some(format!(
        "its program {}, and its last lines say why if anything does: `mesh logs {}` shows all of them; mend it, or what it is told in spec.command, spec.args and spec.env",
        exit.text, instance.id
    ))
}

/// Whether it runs in containers; a program of the machine otherwise.
fn in_container(spec: Option<&MeshServiceSpec>) -> bool {
    spec.is_some_and(|spec| spec.image.is_some())
}

/// For plain processes there is nothing for `mesh doctor` to look at: it is about engines of containers.
fn no_node(_: &str, spec: Option<&MeshServiceSpec>) -> String {
    let look = "`kubectl get mn` shows which there are, and why they are not ready";
    if in_container(spec) {
        format!("no machine is ready to run it: {look}; `mesh doctor` on the machine says what stands in the way of containers")
    } else {
        format!("no machine is ready to run it: {look}; a mesh-controller (or `mesh run`) must be running there")
    }
}

/// A port of the machine.
fn port_taken(_: &str, spec: Option<&MeshServiceSpec>) -> String {
    match (in_container(spec), spec.and_then(|spec| spec.port)) {
        (true, _) => "the port of the machine that stands for its own is taken: `ss -ltnp` shows by whom; end that, or give --port-range another range".to_owned(),
        (false, Some(port)) => format!(
            "its port {0} is taken: `ss -ltnp` shows by whom; end that, or leave spec.port out and have the program listen on $PORT, of which each instance has its own",
            port.0
        ),
        (false, None) => {
            "the port that it listens on is taken: `ss -ltnp` shows by whom; have it listen on $PORT, of which each instance has its own, and on no port of its own choice".to_owned()
        }
    }
}

fn not_listening(_: &str, spec: Option<&MeshServiceSpec>) -> String {
    let mut probes = spec.map(|spec| [&spec.startup_probe, &spec.readiness_probe, &spec.liveness_probe]).into_iter().flatten().flatten();
    let named = probes.find_map(|probe| probe.http_get.as_ref().map_or_else(|| probe.tcp_socket.as_ref()?.port, |get| get.port));
    let probe = named.map(|port| format!("; its probe asks port {}, whatever $PORT is", port.0)).unwrap_or_default();
    match (in_container(spec), spec.and_then(|spec| spec.port)) {
        (true, Some(port)) => format!(
            "nothing answers on port {0} of its container: the program must listen there on all addresses (0.0.0.0, not 127.0.0.1), or spec.port must say where it does{probe}",
            port.0
        ),
        (true, None) => format!(
            "nothing answers on its container's port: the program must listen on $PORT on all addresses (0.0.0.0, not 127.0.0.1), or spec.port must say where it does{probe}"
        ),
        (false, _) => {
            format!("nothing answers on its port: the program must listen on $PORT, which each instance gets from the controller{probe}")
        }
    }
}

/// The path that its probe asks, as the field that holds it says.
fn probe_path(spec: Option<&MeshServiceSpec>) -> String {
    let Some(spec) = spec else { return "of its probe".to_owned() };
    let probes = [
        ("spec.readinessProbe", &spec.readiness_probe),
        ("spec.livenessProbe", &spec.liveness_probe),
        ("spec.startupProbe", &spec.startup_probe),
    ];
    let long =
        probes.into_iter().find_map(|(field, probe)| Some(format!("{} of {field}.httpGet", probe.as_ref()?.http_get.as_ref()?.path)));
    let short = spec.health_path.as_ref().map(|path| format!("{} of spec.healthPath", path.0));
    short.or(long).unwrap_or_else(|| "of its probe".to_owned())
}

fn pull(text: &str, spec: Option<&MeshServiceSpec>) -> String {
    if text.contains("--drain-image") {
        return "the image of the drain hook cannot be had, which is not the service's: give the controller another --drain-image, or bring that one to where the nodes pull from".to_owned();
    }
    let image = image(spec);
    let refused =
        ["unauthorized", "authentication required", "denied", "forbidden"].iter().any(|sign| text.to_ascii_lowercase().contains(sign));
    if refused {
        return format!(
            "the registry of {image} asks who it is: `kubectl create secret docker-registry pull --docker-server=… --docker-username=… --docker-password=…`, then spec.imagePullSecrets: [{{name: pull}}]"
        );
    }
    format!(
        "the image {image} cannot be had: correct spec.image (its tag too), push it, or look at the way to its registry; `podman pull {image}` tells more"
    )
}

fn not_found(_: &str, spec: Option<&MeshServiceSpec>) -> String {
    let first = spec.and_then(|spec| spec.command.as_ref()?.first()).filter(|program| !program.contains('/'));
    match first.map(|program| program.split_whitespace().collect::<Vec<_>>()).filter(|words| words.len() > 1) {
        Some(words) => format!("no shell splits spec.command, so write each word by itself: command: {words:?}"),
        None => format!(
            "there is no program {}: correct spec.command (a bare name is looked up in PATH, a relative path from spec.workingDir; no shell is involved)",
            program(spec).unwrap_or_else(|| "of that name in the image".to_owned())
        ),
    }
}

fn not_executable(text: &str, spec: Option<&MeshServiceSpec>) -> String {
    let program = program(spec).unwrap_or_else(|| "the image's entrypoint".to_owned());
    if text.contains("#! line") {
        return format!(
            "{program} needs an interpreter that is not there: install it, correct the #! line, or name another one first in spec.command"
        );
    }
    if text.contains("longer than the system allows") {
        return format!("{program} is given more than the system allows: shorten spec.args or spec.env");
    }
    format!("{program} cannot be executed: chmod +x it, or name its interpreter first in spec.command")
}

fn missing(kind: &str, word: &str, text: &str) -> String {
    let name = quoted(text).unwrap_or("NAME");
    if let Some(key) = after(text, "couldn't find key ").or_else(|| after(text, "refers to key ")) {
        let object = after(text, &format!("{word} ")).unwrap_or("NAME");
        // A kubelet writes namespace/name.
        let object = object.rsplit('/').next().unwrap_or(object);
        let data = if word == "Secret" { "stringData" } else { "data" };
        return format!(
            "{word} {object} has no key {key}: `kubectl patch {} {object} --type=merge -p '{{\"{data}\":{{\"{key}\":\"VALUE\"}}}}'` adds it; or correct the key where the service refers to it",
            word.to_lowercase()
        );
    }
    if text.contains("no such key") || text.contains("non-existent") {
        return format!(
            "a key that the service asks for is missing: `kubectl edit {} NAME` adds it (the message says which)",
            word.to_lowercase()
        );
    }
    format!(
        "the {word} {name} is missing: `kubectl create {kind} {name} --from-literal=KEY=VALUE` makes it; or set optional: true where the service refers to it"
    )
}

/// The word behind these, without its quotes.
fn after<'a>(text: &'a str, words: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(words)?;
    let word = rest.split([' ', ',']).next()?.trim_matches(['"', ':', ';']);
    (!word.is_empty()).then_some(word)
}

/// The first word in quotes.
fn quoted(text: &str) -> Option<&str> {
    text.split('"').nth(1).filter(|name| !name.is_empty())
}

fn image(spec: Option<&MeshServiceSpec>) -> String {
    spec.and_then(|spec| spec.image.clone()).unwrap_or_else(|| "it is made from".to_owned())
}

/// The program that a service names; none where that is left to the image.
fn program(spec: Option<&MeshServiceSpec>) -> Option<String> {
    let program = spec.and_then(|spec| spec.command.as_ref()?.first().or(spec.args.first()));
    program.map(|program| format!("{program:?}"))
}

#[cfg(test)]
mod tests;
