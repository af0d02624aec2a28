//! One service of a compose file.
use serde_json::{Value, json};

use super::{Top, deploy, health, traefik, units, volumes};
use crate::{
    Result,
    import::{
        dotenv,
        draft::{Book, Draft, label, literal},
        fields::{Fields, scalar},
        loosen,
        setting::Setting,
    },
    words::{self, quoted},
};

/// Ports of images that are well known, for services that say none (compose needs none on its network).
const PORTS: [(&str, u16); 20] = [
    ("postgres", 5432),
    ("postgis", 5432),
    ("mysql", 3306),
    ("mariadb", 3306),
    ("redis", 6379),
    ("valkey", 6379),
    ("mongo", 27017),
    ("rabbitmq", 5672),
    ("memcached", 11211),
    ("elasticsearch", 9200),
    ("opensearch", 9200),
    ("nginx", 80),
    ("httpd", 80),
    ("caddy", 80),
    ("wordpress", 80),
    ("adminer", 8080),
    ("minio", 9000),
    ("nats", 4222),
    ("mailhog", 8025),
    ("whoami", 80),
];

/// Fields that a mesh does by itself, or that a container is the same without.
const MOOT: [(&str, &str); 10] = [
    ("depends_on", "what is not there yet is waited for by being started again"),
    ("networks", "the services of one app.kubernetes.io/part-of share one and find each other by name"),
    ("container_name", "instances are named by service, revision and number"),
    ("init", "set shareProcessNamespace in spec.kubernetes.podTemplate if it matters"),
    ("stdin_open", "nobody types"),
    ("tty", "nobody types"),
    ("attach", "mesh logs"),
    ("platform", "the image's"),
    ("develop", "for building"),
    ("annotations", "labels of the engine"),
];

/// What has no field, and where it could go in a cluster.
const LOST: [(&str, &str); 15] = [
    ("hostname", "an instance's hostname is its name"),
    ("network_mode", "a service has an address of its own"),
    ("extra_hosts", "in a cluster: spec.kubernetes.podTemplate.spec.hostAliases"),
    ("dns", "in a cluster: spec.kubernetes.podTemplate.spec.dnsConfig"),
    ("ulimits", "the engine's own limits hold"),
    ("sysctls", "in a cluster: spec.kubernetes.podTemplate.spec.securityContext.sysctls"),
    ("devices", "in a cluster: a device plugin and spec.kubernetes.podTemplate"),
    (
        "privileged",
        "a container here has the capabilities of spec.securityContext.capabilities.add at most; in a cluster: spec.kubernetes.podTemplate",
    ),
    ("pid", "in a cluster: spec.kubernetes.podTemplate.spec.hostPID"),
    ("ipc", "in a cluster: spec.kubernetes.podTemplate.spec.hostIPC"),
    ("volumes_from", "name the volumes"),
    ("group_add", "in a cluster: spec.kubernetes.podTemplate.spec.securityContext.supplementalGroups"),
    ("gpus", "in a cluster: spec.kubernetes.podTemplate"),
    ("cgroup_parent", "the backend puts instances into cgroups of its own"),
    ("pids_limit", "there is no such limit here"),
];

/// Makes the draft.
pub(super) fn service(name: &str, value: Value, top: &Top, setting: &Setting, book: &mut Book<'_>) -> Result<Option<Draft>> {
    let path = format!("services.{name}");
    if !value.is_object() {
        book.lost(&path, "this service is no mapping");
        return Ok(None);
    }
    let mut fields = Fields::new(path.clone(), value);
    let mut draft = Draft::new(name);
    if draft.name != name {
        book.said(&path, format!("the service {name} is called {} here: others that call it by name must use that", draft.name));
    }
    if !top.project.is_empty() {
        draft.labels.insert("app.kubernetes.io/part-of".to_owned(), top.project.clone().into());
    }
    image(&mut fields, top, &mut draft, book);
    command(&mut fields, &mut draft, book);
    environment(&mut fields, &mut draft, top, book)?;
    health::healthcheck(&mut fields, &mut draft, book);
    labels(&mut fields, &mut draft, book);
    ports(&mut fields, &mut draft, book);
    let kept = volumes::volumes(&mut fields, top, &mut draft, book);
    deploy::deploy(&mut fields, kept, &mut draft, book);
    deploy::logging(&mut fields, &mut draft, book);
    security(&mut fields, &mut draft, book);
    lifecycle(&mut fields, &mut draft, book);
    left(fields, book);
    if setting.runs_containers() {
        loosen::note(&draft, &path, book);
    }
    Ok(Some(draft))
}

fn image(fields: &mut Fields, top: &Top, draft: &mut Draft, book: &mut Book<'_>) {
    let (build, image) = (fields.take("build"), fields.text("image"));
    let own = format!("localhost/{}-{}:latest", top.project, draft.name);
    let image = image.unwrap_or(own);
    if let Some(build) = build {
        built(&fields.path("build"), &build, &image, book);
    }
    draft.set("image", image);
    match fields.text("pull_policy").as_deref() {
        Some("always") => draft.set("imagePullPolicy", "Always"),
        Some("never") => draft.set("imagePullPolicy", "Never"),
        Some("missing" | "if_not_present") => draft.set("imagePullPolicy", "IfNotPresent"),
        Some(other) if other != "build" => {
            book.lost(&fields.path("pull_policy"), format!("pull_policy {other}: Always, IfNotPresent and Never are there"));
        }
        _ => {}
    }
}

/// What is built is told as the command that builds it; what that does not take is told one by one.
fn built(path: &str, build: &Value, image: &str, book: &mut Book<'_>) {
    let mut fields = Fields::new(path, build.clone());
    let context = scalar(build).or_else(|| fields.text("context")).unwrap_or_else(|| ".".to_owned());
    let mut words = vec!["podman build -t".to_owned(), image.to_owned()];
    words.extend(fields.text("dockerfile").map(|file| format!("-f {}", quoted(&format!("{context}/{file}")))));
    words.extend(fields.text("target").map(|target| format!("--target {}", quoted(&target))));
    let argument = |(_, name, value): (String, String, Option<String>)| match value {
        Some(value) => format!("--build-arg {}", quoted(&format!("{name}={value}"))),
        None => format!("--build-arg {name}"),
    };
    words.extend(fields.pairs("args").into_iter().map(argument));
    words.push(quoted(&context));
    book.lost(path, format!("build: nothing is built here: {}", words.join(" ")));
    for (path, key, value) in fields.left().into_iter().filter(|(_, _, value)| !value.is_null()) {
        if key.starts_with("x-") {
            book.moot(key);
        } else {
            book.lost(&path, format!("build.{key} has no counterpart: {value}"));
        }
    }
}

/// `entrypoint` stands for the image's entrypoint and `command` for its arguments, as `command` and `args` do in Kubernetes.
fn command(fields: &mut Fields, draft: &mut Draft, book: &mut Book<'_>) {
    for (key, field) in [("entrypoint", "command"), ("command", "args")] {
        let path = fields.path(key);
        let words = match fields.take(key) {
            None => continue,
            Some(Value::Array(list)) => {
                for word in list.iter().filter(|word| scalar(word).is_none()) {
                    book.lost(&path, format!("{key}: {word} is no word: write it in quotes"));
                }
                list.iter().filter_map(scalar).collect()
            }
            Some(value) => match words::split(&scalar(&value).unwrap_or_default()) {
                Ok(line) => {
                    if let Some(sign) = &line.shell {
                        book.said(&path, format!("{key}: compose starts no shell, so {sign} is an argument as it stands; write [/bin/sh, -c, …] if a shell is meant"));
                    }
                    line.words
                }
                Err(what) => {
                    book.lost(&path, format!("{key}: {what}"));
                    continue;
                }
            },
        };
        let words: Vec<String> = words.iter().map(|word| literal(word)).collect();
        if words.first().is_none_or(String::is_empty) {
            book.lost(&path, format!("{key}: an empty one (the image's own is left out) cannot be said"));
        } else {
            draft.set(field, words);
        }
    }
    if let Some(dir) = fields.text("working_dir") {
        draft.set("workingDir", dir);
    }
}

fn environment(fields: &mut Fields, draft: &mut Draft, top: &Top, book: &mut Book<'_>) -> Result {
    for (path, value) in fields.list("env_file") {
        let mut long = Fields::new(path.clone(), value.clone());
        let Some(file) = scalar(&value).or_else(|| long.text("path")) else { continue };
        match std::fs::read_to_string(book.input.absolute(&file)) {
            Ok(text) => {
                for (name, value) in dotenv::read(&text, Some(&top.variables)).map_err(|error| error.of(&file))? {
                    draft.env(&name, &literal(&value));
                }
                book.said(
                    &path,
                    format!("env_file: the variables of {file} stand here one by one: put what is secret into a Secret (spec.envFrom)"),
                );
            }
            Err(error) => book.lost(&path, format!("env_file {file}: {error}")),
        }
    }
    let mut pairs = fields.pairs("environment");
    pairs.sort_by_key(|(path, ..)| book.input.line(0, path));
    for (path, name, value) in pairs {
        match value.or_else(|| top.variables.get(&name).cloned()) {
            Some(value) => draft.env(&name, &literal(&value)),
            None => book.lost(&path, format!("environment: {name} has no value, and is not set here")),
        }
    }
    Ok(())
}

fn labels(fields: &mut Fields, draft: &mut Draft, book: &mut Book<'_>) {
    let labels = fields.pairs("labels").into_iter().map(|(path, name, value)| (path, name, value.unwrap_or_default()));
    let (traefik, others): (Vec<_>, Vec<_>) = labels.partition(|(_, name, _)| name.starts_with("traefik."));
    traefik::labels(&traefik, draft, book);
    for (path, name, value) in others {
        book.lost(&path, format!("labels: {name}={value} is for other programs; metadata.labels takes labels in Kubernetes' form"));
    }
}

/// The first TCP port is the service's; the router's port is the one that is published.
fn ports(fields: &mut Fields, draft: &mut Draft, book: &mut Book<'_>) {
    let mut found: Vec<u16> = Vec::new();
    for (path, value) in fields.list("ports") {
        let Some((published, target, protocol)) = port(&path, &value, book) else {
            book.lost(&path, format!("ports: {value} is no port"));
            continue;
        };
        if protocol != "tcp" {
            book.lost(&path, format!("ports: {target}/{protocol}: only TCP is served"));
            continue;
        }
        if let Some(published) = published {
            let routed = draft.has("route") || draft.has("routes");
            let hint = if routed { "the routes say what it takes" } else { "if it speaks HTTP, add route: / (or /path) to spec" };
            book.lost(&path, format!("ports: {published} is not published: requests come through the router's port; {hint}"));
        }
        if target.contains('-') {
            book.lost(&path, format!("ports: of the range {target} only the first is carried over"));
        }
        found.extend(target.split('-').next().and_then(|port| port.parse::<u16>().ok()));
    }
    let exposed = fields.list("expose");
    found.extend(exposed.iter().filter_map(|(_, value)| scalar(value)?.split(['/', '-']).next()?.parse::<u16>().ok()));
    found.dedup();
    let labelled = draft.spec.get("port").is_some();
    for more in found.iter().skip(usize::from(!labelled)).filter(|port| Some(&&**port) != found.first().as_ref()) {
        book.lost(
            &fields.path("ports"),
            format!("ports: {more}: a service has one port; make another MeshService of the same image for it"),
        );
    }
    if labelled {
        return;
    }
    if let Some(port) = found.first() {
        draft.set("port", *port);
        return;
    }
    let image = draft.spec.get("image").and_then(Value::as_str).unwrap_or_default();
    let base = image.rsplit('/').next().unwrap_or_default().split([':', '@']).next().unwrap_or_default();
    if let Some((name, port)) = PORTS.iter().find(|(name, _)| *name == base) {
        draft.set("port", *port);
        book.said(&fields.path("image"), format!("port: {port} is what {name} listens on: the file says none"));
    } else if draft.has("route") || draft.has("routes") {
        book.said(&fields.path("image"), "port: 8080, because the file says none: give spec.port if the program listens elsewhere");
    } else {
        draft.set("type", "Worker");
        draft.spec.remove("healthPath");
        book.said(&fields.path("image"), "type: Worker, because no port is given: if others call it, take type out and give spec.port");
    }
}

/// Published, target and protocol of a port.
fn port(path: &str, value: &Value, book: &mut Book<'_>) -> Option<(Option<String>, String, String)> {
    if value.is_object() {
        let mut fields = Fields::new(path, value.clone());
        let protocol = fields.text("protocol").unwrap_or_else(|| "tcp".to_owned());
        let read = (fields.text("published").filter(|port| !port.is_empty()), fields.text("target")?, protocol);
        for (path, key, value) in fields.left() {
            book.lost(&path, format!("ports: {key} of {} has no counterpart: {value}", read.1));
        }
        return Some(read);
    }
    let text = scalar(value)?;
    let (text, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
    let (published, target) = match text.rsplit_once(':') {
        Some((published, target)) => (Some(published.to_owned()), target),
        None => (None, text),
    };
    target.split('-').all(|port| port.parse::<u16>().is_ok()).then(|| (published, target.to_owned(), protocol.to_owned()))
}

fn security(fields: &mut Fields, draft: &mut Draft, book: &mut Book<'_>) {
    let path = fields.path("user");
    if let Some(user) = fields.text("user") {
        let (user, group) = user.split_once(':').map_or((user.as_str(), None), |(user, group)| (user, Some(group)));
        for (field, id) in [("runAsUser", Some(user)), ("runAsGroup", group)] {
            match id.map(str::parse::<i64>) {
                Some(Ok(id)) => drop(draft.inner("securityContext").insert(field.to_owned(), id.into())),
                Some(Err(_)) if id == Some("root") => drop(draft.inner("securityContext").insert(field.to_owned(), 0.into())),
                Some(Err(_)) => book.lost(&path, format!("user {}: give its number: spec.securityContext.{field}", id.unwrap_or_default())),
                None => {}
            }
        }
    }
    let read_only = fields.flag("read_only").unwrap_or(false);
    let short = |name: String| name.to_ascii_uppercase().trim_start_matches("CAP_").to_owned();
    let add: Vec<String> = fields.texts("cap_add").into_iter().map(short).collect();
    let dropped: Vec<String> = fields.texts("cap_drop").into_iter().map(short).collect();
    for (at, value) in fields.list("security_opt") {
        let text = scalar(&value).unwrap_or_default();
        match text.as_str() {
            "no-new-privileges:true" | "no-new-privileges" => book.moot("security_opt: no-new-privileges (always)"),
            _ => book.lost(&at, format!("security_opt: {text} has no counterpart")),
        }
    }
    loosen::loosen(draft, read_only, &add, &dropped);
}

fn lifecycle(fields: &mut Fields, draft: &mut Draft, book: &mut Book<'_>) {
    let path = fields.path("stop_grace_period");
    if let Some(text) = fields.text("stop_grace_period") {
        match units::seconds(&text) {
            Some(seconds) => draft.set("terminationGracePeriodSeconds", seconds),
            None => book.lost(&path, format!("stop_grace_period {text:?} is no time")),
        }
    }
    let path = fields.path("stop_signal");
    if let Some(signal) = fields.text("stop_signal").filter(|signal| !matches!(signal.as_str(), "SIGTERM" | "TERM" | "15")) {
        book.lost(&path, format!("stop_signal {signal}: instances are told to end by SIGTERM"));
    }
    let path = fields.path("restart");
    match fields.text("restart").as_deref() {
        Some("no" | "false") => book.lost(&path, "restart: no: what ends is always started again here; a one-time task is no service"),
        Some(_) => book.moot("restart (what ends is started again, with growing pauses)"),
        None => {}
    }
    let profiles = fields.texts("profiles");
    if !profiles.is_empty() {
        draft.set("replicas", 0);
        let name = &draft.name;
        book.said(
            &fields.path("profiles"),
            format!("profiles [{}]: it is not started by itself, so replicas is 0: mesh scale {name}=1", profiles.join(", ")),
        );
    }
}

/// What is left has no counterpart, or needs none.
fn left(mut fields: Fields, book: &mut Book<'_>) {
    let depends = fields.inner("depends_on").map(Fields::left).unwrap_or_default();
    for (path, name, value) in depends {
        if value.get("condition").and_then(Value::as_str) == Some("service_completed_successfully") {
            book.lost(
                &path,
                format!(
                    "depends_on: {name} is to be completed first: run it by hand, or as an initContainer in spec.kubernetes.podTemplate"
                ),
            );
        }
        book.moot("depends_on (what is not there yet is waited for by being started again)");
    }
    if let Some(networks) = fields.inner("networks") {
        book.moot("networks (the services of one app.kubernetes.io/part-of share one and find each other by name)");
        for (path, name, _) in networks.left().into_iter().filter(|(_, _, value)| value.is_object()) {
            book.lost(&path, format!("networks: aliases and addresses in {name}: others find it by its service's name"));
        }
    }
    for (path, value) in fields.list("links") {
        match value.as_str().and_then(|link| link.split_once(':')) {
            Some((name, alias)) if name != alias => {
                book.lost(&path, format!("links: {name} is called {alias} by this service: call it {} here", label(name)));
            }
            _ => book.moot("links (services find each other by name)"),
        }
    }
    for (path, key, value) in fields.left() {
        if value.is_null() {
            continue;
        }
        if key == "privileged" && value == json!(false) {
            book.moot("privileged: false (as it is anyway)");
            continue;
        }
        if let Some((_, why)) = MOOT.iter().find(|(moot, _)| *moot == key) {
            book.moot(format!("{key} ({why})"));
        } else if key.starts_with("x-") {
            book.moot(key);
        } else if let Some((_, why)) = LOST.iter().find(|(lost, _)| *lost == key) {
            book.lost(&path, format!("{key}: {why}"));
        } else {
            book.lost(&path, format!("{key} has no counterpart: {}", json!(value)));
        }
    }
}
