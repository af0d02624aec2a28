//! `volumes`, `tmpfs`, `shm_size`, `secrets` and `configs` of a compose service.
use serde_json::{Value, json};

use super::{Top, units};
use crate::import::{
    draft::{Book, Draft, label},
    fields::{Fields, scalar},
};

/// A mount as compose means it.
struct Mount {
    path: String,
    kind: &'static str,
    source: Option<String>,
    target: String,
    read_only: bool,
}

/// Takes all that becomes a volume. Whether one of them is kept over instances.
pub(super) fn volumes(fields: &mut Fields, top: &Top, draft: &mut Draft, book: &mut Book<'_>) -> bool {
    let mut mounts: Vec<Mount> = Vec::new();
    for (path, value) in fields.list("volumes") {
        match value {
            Value::String(text) => mounts.extend(short(&path, &text, book)),
            value => mounts.extend(long(&path, value, draft, book)),
        }
    }
    for (path, value) in fields.list("tmpfs") {
        let text = scalar(&value).unwrap_or_default();
        let (target, options) = text.split_once(':').unwrap_or((&text, ""));
        for option in options.split(',').filter(|option| !option.is_empty()) {
            book.lost(
                &path,
                format!("tmpfs: the option {option} of {target} has no counterpart; for size= write emptyDir.sizeLimit in spec.volumes"),
            );
        }
        mounts.push(Mount { path, kind: "tmpfs", source: None, target: target.to_owned(), read_only: false });
    }
    let mut kept = false;
    for mount in mounts {
        kept |= mount.kind != "tmpfs" && mount.source.is_some() && !mount.read_only;
        add(mount, top, draft, book);
    }
    if let Some(size) = fields.text("shm_size") {
        let size = units::bytes(&size);
        push(draft, "shm", json!({ "emptyDir": { "medium": "Memory", "sizeLimit": size } }), "/dev/shm", false);
    }
    secrets(fields, top, draft, book);
    kept
}

/// `[source:]target[:options]`.
fn short(path: &str, text: &str, book: &mut Book<'_>) -> Option<Mount> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => (None, *target, ""),
        [source, target] => (Some(*source), *target, ""),
        [source, target, options] => (Some(*source), *target, *options),
        _ => {
            book.lost(path, format!("volumes: {text:?} is no volume of Linux"));
            return None;
        }
    };
    for option in options.split(',').filter(|option| !matches!(*option, "" | "ro" | "rw")) {
        match option {
            "z" | "Z" | "cached" | "delegated" | "consistent" => book.moot(format!("volumes: the option {option}")),
            _ => book.lost(path, format!("volumes: the option {option} of {text} has no counterpart")),
        }
    }
    let kind = if source.is_some_and(|source| source.starts_with(['.', '/', '~'])) { "bind" } else { "volume" };
    let read_only = options.split(',').any(|option| option == "ro");
    Some(Mount { path: path.to_owned(), kind, source: source.map(str::to_owned), target: target.to_owned(), read_only })
}

fn long(path: &str, value: Value, draft: &mut Draft, book: &mut Book<'_>) -> Option<Mount> {
    let mut fields = Fields::new(path, value);
    let kind = match fields.text("type").as_deref() {
        Some("bind") => "bind",
        Some("volume") | None => "volume",
        Some("tmpfs") => "tmpfs",
        Some(other) => {
            book.lost(path, format!("volumes: a volume of type {other} has no counterpart"));
            return None;
        }
    };
    let source = fields.text("source").or_else(|| fields.text("src"));
    let target = fields.text("target").or_else(|| fields.text("dst")).unwrap_or_default();
    let read_only = fields.flag("read_only").unwrap_or(false);
    if let Some(size) = fields.inner("tmpfs").and_then(|mut tmpfs| tmpfs.text("size")).and_then(|size| units::bytes(&size)) {
        let name = format!("memory-{}", label(&target));
        push(draft, &name, json!({ "emptyDir": { "medium": "Memory", "sizeLimit": size } }), &target, false);
        return None;
    }
    for (at, key, _) in fields.left() {
        match key.as_str() {
            "consistency" => book.moot("volumes: consistency"),
            _ => book.lost(&at, format!("volumes: {key} of the volume at {target} has no counterpart")),
        }
    }
    Some(Mount { path: path.to_owned(), kind, source, target, read_only })
}

fn add(mount: Mount, top: &Top, draft: &mut Draft, book: &mut Book<'_>) {
    let Mount { path, kind, source, target, read_only } = mount;
    if !target.starts_with('/') || target == "/" {
        book.lost(&path, format!("volumes: {target:?} is no path in the container to mount at"));
        return;
    }
    let name = format!("{}-{}", if kind == "tmpfs" { "memory" } else { "data" }, label(&target));
    match (kind, source) {
        ("tmpfs", _) => push(draft, &name, json!({ "emptyDir": { "medium": "Memory" } }), &target, false),
        (_, None) => push(draft, &name, json!({ "emptyDir": {} }), &target, false),
        ("bind", Some(source)) => {
            let source = match source.strip_prefix('~') {
                Some(rest) => format!("{}{rest}", top.variables.get("HOME").map_or("/root", String::as_str)),
                None => source,
            };
            let host = book.input.absolute(&source);
            book.said(
                &path,
                format!("volumes: {host} is a path of this machine: on a cluster use a ConfigMap, a Secret or a claim in its place"),
            );
            let type_ = std::fs::metadata(&host).map(|meta| if meta.is_file() { "File" } else { "DirectoryOrCreate" });
            let type_ = type_.unwrap_or("DirectoryOrCreate");
            let type_ =
                if std::path::Path::new(&host).extension().is_some_and(|extension| extension == "sock") { None } else { Some(type_) };
            push(draft, &name, json!({ "hostPath": { "path": host, "type": type_ } }), &target, read_only);
        }
        (_, Some(source)) => {
            let of_its_own = top.volumes.get(&source);
            let claim = label(of_its_own.unwrap_or(&source));
            if let Some(engine) = of_its_own {
                // It is there already, and a database that does not find it starts empty.
                book.lost(
                    &path,
                    format!(
                        "volumes: the data of the volume {engine}: this service has a volume of its own, {claim}; before its first start: \
                         podman volume create mesh-default-{claim}; podman volume export {engine} | podman volume import mesh-default-{claim} - \
                         (default is the namespace)"
                    ),
                );
            } else if claim != source {
                book.said(
                    &path,
                    format!(
                        "volumes: the volume {source} is called {claim} here; its data stay where they are (podman volume export, import)"
                    ),
                );
            }
            push(draft, &name, json!({ "persistentVolumeClaim": { "claimName": claim } }), &target, read_only);
        }
    }
}

/// Puts a volume and its mount into the draft; nulls are left out.
fn push(draft: &mut Draft, name: &str, source: Value, target: &str, read_only: bool) {
    let mut name = name.trim_end_matches('-').to_owned();
    let taken = |draft: &Draft, name: &str| {
        let volumes = draft.spec.get("volumes").and_then(Value::as_array);
        volumes.is_some_and(|volumes| volumes.iter().any(|volume| volume.get("name").and_then(Value::as_str) == Some(name)))
    };
    while taken(draft, &name) {
        name.push('x');
    }
    let mut volume = source;
    if let Value::Object(map) = &mut volume {
        for source in map.values_mut().filter_map(Value::as_object_mut) {
            source.retain(|_, value| !value.is_null());
        }
        map.insert("name".to_owned(), name.clone().into());
    }
    draft.push("volumes", volume);
    let mut mount = json!({ "name": name, "mountPath": target });
    if let (true, Value::Object(map)) = (read_only, &mut mount) {
        map.insert("readOnly".to_owned(), true.into());
    }
    draft.push("volumeMounts", mount);
}

/// All secrets of a service lie in one directory, so they come from one Secret.
fn secrets(fields: &mut Fields, top: &Top, draft: &mut Draft, book: &mut Book<'_>) {
    let (mut keys, mut first) = (Vec::new(), None);
    for (path, value) in fields.list("secrets") {
        let mut long = Fields::new(path.clone(), value.clone());
        let Some(source) = scalar(&value).or_else(|| long.text("source")) else { continue };
        let target = long.text("target").unwrap_or_else(|| source.clone());
        let key = target.strip_prefix("/run/secrets/").unwrap_or(&target).to_owned();
        if key.contains('/') {
            book.lost(&path, format!("secrets: {source} is to lie at {target}: mount a volume of a Secret there"));
            continue;
        }
        for (at, key, _) in long.left() {
            book.lost(&at, format!("secrets: {key} of {source}: the files of a Secret have the mode of spec.volumes[].secret.defaultMode"));
        }
        first.get_or_insert(path);
        let file = top.secrets.get(&source).cloned().unwrap_or_else(|| format!("FILE-OF-{source}"));
        keys.push(format!("--from-file={key}={file}"));
    }
    if let Some(path) = first {
        let name = format!("{}-secrets", draft.name);
        push(draft, "secrets", json!({ "secret": { "secretName": name } }), "/run/secrets", true);
        book.said(&path, format!("secrets: make the Secret that it mounts: kubectl create secret generic {name} {}", keys.join(" ")));
    }
    for (path, value) in fields.list("configs") {
        let mut long = Fields::new(path.clone(), value.clone());
        let source = scalar(&value).or_else(|| long.text("source")).unwrap_or_default();
        let target = long.text("target").unwrap_or_else(|| format!("/{source}"));
        book.lost(
            &path,
            format!("configs: {source} at {target}: make a ConfigMap of it and mount it as a volume (it takes a whole directory), or in a cluster as subPath in spec.kubernetes.podTemplate"),
        );
    }
}
