//! One app of an ecosystem file.
use serde_json::{Value, json};

use crate::{
    import::{
        draft::{Book, Draft, literal},
        fields::{Fields, scalar},
        setting::Setting,
    },
    words,
};

/// What is done here by itself, or in another way.
const MOOT: [(&str, &str); 16] = [
    ("max_restarts", "what ends is started again, with growing pauses"),
    ("min_uptime", "what ends is started again, with growing pauses"),
    ("restart_delay", "what ends is started again, with growing pauses"),
    ("exp_backoff_restart_delay", "what ends is started again, with growing pauses"),
    ("out_file", "mesh logs"),
    ("error_file", "mesh logs"),
    ("log_file", "mesh logs"),
    ("output", "mesh logs"),
    ("error", "mesh logs"),
    ("log", "mesh logs"),
    ("merge_logs", "mesh logs"),
    ("combine_logs", "mesh logs"),
    ("log_date_format", "mesh logs --timestamps"),
    ("log_type", "mesh logs"),
    ("time", "mesh logs --timestamps"),
    ("pid_file", "mesh ps"),
];

/// What has no field, and what to do.
const LOST: [(&str, &str); 16] = [
    ("watch", "files are not watched: mesh restart"),
    ("watch_delay", "files are not watched"),
    ("ignore_watch", "files are not watched"),
    ("watch_options", "files are not watched"),
    ("cron_restart", "nothing is restarted by the clock: call mesh restart from a timer"),
    ("cron", "nothing is restarted by the clock: call mesh restart from a timer"),
    ("listen_timeout", "give spec.startupProbe a failureThreshold"),
    ("shutdown_with_message", "instances are told to end by SIGTERM"),
    ("uid", "processes run as the controller's user; a container as spec.securityContext.runAsUser"),
    ("user", "processes run as the controller's user; a container as spec.securityContext.runAsUser"),
    ("gid", "processes run as the controller's group"),
    ("increment_var", "an instance finds its own $PORT and $MESH_INSTANCE"),
    ("instance_var", "an instance finds its name in $MESH_INSTANCE"),
    ("source_map_support", "give node --enable-source-maps in spec.command"),
    ("post_update", "run it by hand"),
    ("pmx", "metrics of instances are the controller's"),
];

/// The name that pm2 gives to an app without one: its script's.
pub(super) fn name_of(app: &Value) -> String {
    let script = app.get("script").and_then(Value::as_str).unwrap_or("app");
    let file = script.rsplit('/').next().unwrap_or(script);
    file.split('.').next().unwrap_or(file).to_owned()
}

/// Makes the draft.
pub(super) fn app(name: &str, mut fields: Fields, setting: &Setting, book: &mut Book<'_>) -> Option<Draft> {
    let mut draft = Draft::new(name);
    let path = fields.path("name");
    fields.take("name");
    if draft.name != name {
        book.said(&path, format!("the app {name} is called {} here", draft.name));
    }
    let port = environment(&mut fields, setting, &mut draft, book);
    let cluster = instances(&mut fields, setting, &mut draft, book);
    if let Some(namespace) = fields.text("namespace").filter(|name| name != "default") {
        book.lost(
            &fields.path("namespace"),
            format!("namespace {namespace}: a group of pm2; kubectl and mesh have -n, and mesh ps shows all"),
        );
    }
    if let Some(dir) = fields.text("cwd") {
        draft.set("workingDir", dir);
    }
    if !command(&mut fields, &mut draft, book) {
        return None;
    }
    type_(port, cluster, &mut draft, book, &path);
    limits(&mut fields, &mut draft, book);
    left(fields, book);
    Some(draft)
}

/// Sets the variables; whether one says a port.
fn environment(fields: &mut Fields, setting: &Setting, draft: &mut Draft, book: &mut Book<'_>) -> bool {
    let chosen = setting.pm2_env.as_ref().map(|name| format!("env_{name}"));
    if let Some(key) = chosen.as_ref().filter(|key| !fields.has(key)) {
        book.lost("", format!("there is no {key} in this app"));
    }
    let (mut port, path) = (false, fields.path("env"));
    for key in std::iter::once("env".to_owned()).chain(chosen) {
        let mut pairs = fields.pairs(&key);
        pairs.sort_by_key(|(path, ..)| book.input.line(0, path));
        for (at, name, value) in pairs {
            if name == "PORT" {
                port = true;
                let value = value.map(|value| format!(" {value}")).unwrap_or_default();
                book.lost(&at, format!("{key}: PORT{value}: each instance gets a port of its own in $PORT"));
            } else if let Some(value) = value {
                draft.env(&name, &literal(&value));
            }
        }
    }
    let others: Vec<String> = fields.clone().left().into_iter().map(|(_, key, _)| key).filter(|key| key.starts_with("env_")).collect();
    for key in others {
        fields.take(&key);
        let name = key.trim_start_matches("env_").to_owned();
        if key == "env_file" {
            book.lost(&path, "env_file: put its variables into a ConfigMap or Secret (spec.envFrom)");
        } else {
            book.lost(&fields.path(&key), format!("{key}: --env {name} lays it over env"));
        }
    }
    port
}

/// Sets the replicas; whether the app runs in pm2's cluster mode.
fn instances(fields: &mut Fields, setting: &Setting, draft: &mut Draft, book: &mut Book<'_>) -> bool {
    let (path, cores) = (fields.path("instances"), i64::try_from(setting.cores).unwrap_or(1));
    let count = fields.text("instances");
    if let Some(text) = &count {
        let replicas = match text.parse::<i64>() {
            Ok(0) => Some(cores),
            Ok(count) if count < 0 => Some((cores + count).max(1)),
            Ok(count) => Some(count),
            Err(_) if text == "max" => Some(cores),
            Err(_) => None,
        };
        match replicas {
            Some(replicas) => {
                draft.set("replicas", replicas);
                if text.parse::<i64>().ok().is_none_or(|count| count < 1) {
                    book.said(&path, format!("instances {text}: replicas is {replicas}, by the {cores} cores of this machine"));
                }
            }
            None => book.lost(&path, format!("instances {text} is no number")),
        }
    }
    let path = fields.path("exec_mode");
    let mode = fields.text("exec_mode").unwrap_or_default();
    let cluster = mode.starts_with("cluster") || (mode.is_empty() && count.is_some());
    if cluster {
        book.said(
            &path,
            "exec_mode cluster: instances share no socket here: each listens on its own $PORT, and the router spreads requests over them",
        );
    }
    cluster
}

/// Interpreter, its arguments, script and arguments as one vector. False if there is no script.
fn command(fields: &mut Fields, draft: &mut Draft, book: &mut Book<'_>) -> bool {
    let path = fields.path("script");
    let Some(script) = fields.text("script") else {
        book.lost(&path, "it has no script, so nothing is made of it");
        return false;
    };
    let mut script = arguments(&path, Some(Value::String(script)), book);
    let args = fields.path("args");
    let mut rest = arguments(&args, fields.take("args"), book);
    let at = fields.path("interpreter_args");
    let options = ["interpreter_args", "node_args", "interpreterArgs"].into_iter().flat_map(|key| {
        let value = fields.take(key);
        arguments(&at, value, book)
    });
    let mut options: Vec<String> = options.collect();
    let interpreter = fields.text("interpreter").or_else(|| fields.text("exec_interpreter"));
    let first = script.first().cloned().unwrap_or_default();
    let program = interpreter.unwrap_or_else(|| of_extension(&first).to_owned());
    let mut words = Vec::new();
    if program != "none" && !program.is_empty() {
        words.push(program);
        words.append(&mut options);
    }
    words.append(&mut script);
    words.append(&mut rest);
    draft.set("command", words);
    true
}

/// What pm2 runs a file with.
fn of_extension(script: &str) -> &'static str {
    match script.rsplit('/').next().and_then(|file| file.rsplit_once('.')).map(|(_, extension)| extension) {
        Some("js" | "cjs" | "mjs") => "node",
        Some("ts" | "tsx") => "bun",
        Some("py") => "python3",
        Some("sh") => "bash",
        Some("rb") => "ruby",
        Some("php") => "php",
        Some("pl") => "perl",
        _ => "",
    }
}

fn arguments(path: &str, value: Option<Value>, book: &mut Book<'_>) -> Vec<String> {
    let words = match value {
        Some(Value::Array(list)) => {
            for word in list.iter().filter(|word| scalar(word).is_none()) {
                book.lost(path, format!("{word} is no word: write it in quotes"));
            }
            list.iter().filter_map(scalar).collect()
        }
        Some(value) => match words::split(&scalar(&value).unwrap_or_default()) {
            Ok(line) => {
                if let Some(sign) = line.shell {
                    book.said(path, format!("{sign} is an argument as it stands: no shell is started"));
                }
                line.words
            }
            Err(what) => {
                book.lost(path, what);
                Vec::new()
            }
        },
        None => Vec::new(),
    };
    words.iter().map(|word| literal(word)).collect()
}

fn type_(port: bool, cluster: bool, draft: &mut Draft, book: &mut Book<'_>, path: &str) {
    if port || cluster {
        draft.set("type", "Backend");
        book.said(path, "type: Backend: it must listen on $PORT; add route: / (or another path) for the requests that it is to get");
    } else {
        draft.set("type", "Worker");
        book.said(
            path,
            "type: Worker, because nothing says that it listens: if it does, make it a Backend that listens on $PORT, and give it a route",
        );
    }
}

fn limits(fields: &mut Fields, draft: &mut Draft, book: &mut Book<'_>) {
    let path = fields.path("max_memory_restart");
    if let Some(size) = fields.text("max_memory_restart") {
        book.lost(&path, format!("max_memory_restart {size}: a container has spec.resources.limits.memory; a plain process has no limit"));
    }
    if let Some(millis) = fields.number("kill_timeout") {
        draft.set("terminationGracePeriodSeconds", (millis.max(0) + 999) / 1000);
    }
    let path = fields.path("wait_ready");
    if fields.flag("wait_ready") == Some(true) {
        book.lost(
            &path,
            "wait_ready: process.send('ready') is not heard: an instance is ready when it listens on $PORT, or by spec.healthPath",
        );
    }
    let path = fields.path("autorestart");
    if fields.flag("autorestart") == Some(false) {
        book.lost(&path, "autorestart false: what ends is always started again; a one-time task is no service");
    }
}

/// What is left has no counterpart, or needs none. What is switched off is not missed.
fn left(fields: Fields, book: &mut Book<'_>) {
    for (path, key, value) in fields.left() {
        if value == json!(false) || value.is_null() {
            continue;
        }
        if let Some((_, why)) = MOOT.iter().find(|(moot, _)| *moot == key) {
            book.moot(format!("{key} ({why})"));
        } else if let Some((_, why)) = LOST.iter().find(|(lost, _)| *lost == key) {
            book.lost(&path, format!("{key}: {why}"));
        } else if !matches!(key.as_str(), "autorestart" | "wait_ready") {
            book.lost(&path, format!("{key} has no counterpart: {value}"));
        }
    }
}
