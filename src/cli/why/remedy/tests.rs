//! What is told mends what is wrong, for a program of the machine and for a container.
use serde_json::{Value, json};

use super::*;

/// The remedies for a condition with this reason and message.
fn told(spec: &Value, reason: &str, message: &str) -> Vec<String> {
    let off = crate::why::report::Off {
        type_: "Ready".to_owned(),
        status: "False".to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        since: None,
    };
    let report = Report {
        namespace: "shop".to_owned(),
        service: "web".to_owned(),
        instance: None,
        wanted: false,
        summary: String::new(),
        reached_at: vec![],
        conditions: vec![off],
        instances: vec![],
        others: vec![],
        events: vec![],
        remedies: vec![],
    };
    remedies(&report, Some(&serde_json::from_value(spec.clone()).unwrap()))
}

#[test]
fn a_remedy_fits_what_runs_and_how_it_is_asked() {
    let process = json!({"command": ["x"], "healthPath": "/up"});
    let container = json!({"image": "a:1", "port": 3000});
    let asked = json!({"command": ["x"], "readinessProbe": {"httpGet": {"path": "/up", "port": 9999}}});
    for (spec, reason, message, expected, not) in [
        // What our own prober says, and what a kubelet says.
        (
            &process,
            "ReadinessProbeFailed",
            "readiness probe: GET /up: HTTP status 404",
            "the path /up of spec.healthPath is not there",
            "$PORT",
        ),
        (
            &asked,
            "Unhealthy",
            "Readiness probe failed: HTTP probe failed with statuscode: 404",
            "/up of spec.readinessProbe.httpGet is not there",
            "healthPath",
        ),
        (&process, "ReadinessProbeFailed", "readiness probe: GET /up: HTTP status 401", "needs no login", "404"),
        (&process, "ReadinessProbeFailed", "readiness probe: no answer within 1s", "timeoutSeconds", "404"),
        (
            &asked,
            "WaitingForProbe",
            "readiness probe: connect to 127.0.0.1:9999: Connection refused (os error 111)",
            "its probe asks port 9999",
            "0.0.0.0",
        ),
        (&process, "NotListening", "", "must listen on $PORT", "0.0.0.0"),
        (&container, "NotListening", "", "port 3000 of its container", "8080"),
        (&container, "ErrImagePull", "dial tcp 10.0.0.1:443: connect: connection refused", "cannot be had", "$PORT"),
        (
            &container,
            "ErrImagePull",
            "init container mesh-drain (brings the drain hook; its image is the controller's --drain-image): image d:1 cannot be pulled",
            "--drain-image",
            "spec.image",
        ),
        (&process, "NoNodeReady", "no MeshNode is ready", "`mesh run`", "doctor"),
        (&container, "NoNodeReady", "no MeshNode is ready", "`mesh doctor`", "`mesh run`"),
        (&process, "PortTaken", "", "have it listen on $PORT", "container"),
        (&json!({"command": ["sleep 100"]}), "CommandNotFound", "", "command: [\"sleep\", \"100\"]", "PATH"),
        (
            &process,
            "CommandNotExecutable",
            "x: the interpreter that it names (its #! line or its loader) is not there",
            "install it",
            "chmod",
        ),
        (&process, "CommandNotExecutable", "x: Permission denied (os error 13); make it executable", "chmod +x", "install"),
        (
            &process,
            "CreateContainerConfigError",
            "env[0].valueFrom refers to key \"password\" of Secret \"db\", which has no such key: add it, or set optional: true",
            "`kubectl patch secret db --type=merge -p '{\"stringData\":{\"password\":\"VALUE\"}}'`",
            "NAME",
        ),
        (
            &process,
            "CreateContainerConfigError",
            "couldn't find key mode in ConfigMap shop/settings",
            "`kubectl patch configmap settings --type=merge -p '{\"data\":{\"mode\":\"VALUE\"}}'`",
            "NAME",
        ),
        (&json!({"command": ["x"], "port": 3000}), "PortTaken", "", "its port 3000 is taken", "container"),
        (&process, "X", "listen tcp :80: bind: permission denied", "--router-listen", "NET_BIND_SERVICE"),
        (&container, "X", "listen tcp :80: bind: permission denied", "NET_BIND_SERVICE", "8080"),
    ] {
        let told = told(spec, reason, message);
        assert!(told.len() == 1 && told[0].contains(expected) && !told[0].contains(not), "{reason} {message}: {told:?}");
    }
}
