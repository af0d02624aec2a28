//! What becomes of probes, by kind and version.
use mesh_api::probe::{ExecAction, TcpSocketAction};

use super::*;

fn exec(command: &[&str], period: i32) -> Probe {
    let exec = ExecAction { command: command.iter().map(|word| (*word).to_owned()).collect() };
    Probe { exec: Some(exec), http_get: None, period_seconds: period, ..Probe::http("/") }
}

fn tcp() -> Probe {
    Probe { tcp_socket: Some(TcpSocketAction::default()), http_get: None, ..Probe::http("/") }
}

/// The first letters of the probes, and what becomes of them.
fn made(startup: Option<Probe>, readiness: Option<Probe>, liveness: Option<Probe>, podman: (u16, u16)) -> (String, Vec<String>) {
    let template =
        InstanceTemplate { startup_probe: startup, readiness_probe: readiness, liveness_probe: liveness, ..InstanceTemplate::default() };
    let health = health(&template, Podman::new(podman.0, podman.1));
    let mut flags: Vec<String> = health
        .flags()
        .into_iter()
        .filter(|(name, _)| ["health-cmd", "health-startup-cmd", "health-on-failure"].contains(name))
        .map(|(name, value)| format!("{}={value}", name.trim_start_matches("health-")))
        .collect();
    if health.starts {
        flags.push("notify".to_owned());
    }
    flags.extend(health.start_limit.map(|limit| format!("limit={limit}")));
    // The first words say which field, and what of it.
    (flags.join(" "), health.notes)
}

#[test]
fn each_probe_gets_the_place_that_podman_has_for_it() {
    let (s, r, l) = (|| Some(exec(&["s", "1"], 2)), || Some(exec(&["r", "1"], 2)), || Some(exec(&["l", "1"], 2)));
    let cases = [
        (made(None, None, None, (5, 4)), ""),
        (made(None, r(), None, (5, 4)), r#"cmd=["r","1"] notify"#),
        (made(s(), None, None, (5, 4)), r#"cmd=["s","1"] notify limit=6"#),
        (made(None, None, l(), (5, 4)), r#"cmd=["l","1"] on-failure=kill"#),
        (made(None, None, l(), (4, 3)), r#"cmd=["l","1"] on-failure=kill"#),
        (made(s(), r(), None, (5, 4)), r#"cmd=["r","1"] startup-cmd=["s","1"] notify limit=6"#),
        (made(s(), None, l(), (5, 4)), r#"cmd=["l","1"] on-failure=kill startup-cmd=["s","1"] notify limit=6"#),
        (made(None, l(), l(), (5, 4)), r#"cmd=["l","1"] on-failure=kill notify"#),
    ];
    for ((flags, notes), expected) in cases {
        assert_eq!((flags.as_str(), notes), (expected, vec![]));
    }
}

#[test]
fn what_podman_has_no_place_for_is_named() {
    let (s, r, l) = (|| Some(exec(&["s", "1"], 2)), || Some(exec(&["r", "1"], 2)), || Some(exec(&["l", "1"], 2)));
    let slow = Some(exec(&["l", "1"], 30));
    let cases = [
        (
            made(None, r(), l(), (5, 4)),
            r#"cmd=["l","1"] on-failure=kill startup-cmd=["r","1"] notify"#,
            vec!["spec.readinessProbe becomes the startup check"],
        ),
        (
            made(s(), r(), l(), (5, 4)),
            r#"cmd=["l","1"] on-failure=kill startup-cmd=["s","1"] notify limit=6"#,
            vec!["spec.readinessProbe is not carried over: Podman has one health check"],
        ),
        (
            made(None, l(), slow, (5, 4)),
            r#"cmd=["l","1"] on-failure=kill notify"#,
            vec!["spec.readinessProbe asks what livenessProbe asks"],
        ),
        (
            made(None, r(), None, (4, 9)),
            r#"cmd=["r","1"]"#,
            vec![
                "spec.readinessProbe is asked, but the unit counts as started before it passes: Notify=healthy needs Podman 5.0; this is 4.9",
            ],
        ),
        (
            made(s(), None, l(), (4, 4)),
            r#"cmd=["l","1"] on-failure=kill"#,
            vec!["spec.startupProbe is not carried over: a startup check beside a health check needs Podman 4.5; this is 4.4"],
        ),
    ];
    for ((flags, notes), expected, begins) in cases {
        assert_eq!(flags, expected);
        assert_eq!(notes.len(), begins.len(), "{notes:?}");
        assert!(notes.iter().zip(&begins).all(|(note, begin)| note.starts_with(begin)), "{notes:?}");
    }
}

#[test]
fn a_probe_that_is_no_command_is_named_in_every_version() {
    for podman in [(4, 3), (4, 4), (4, 9), (5, 0), (5, 7)] {
        let (flags, notes) = made(Some(Probe::http("/")), Some(tcp()), Some(exec(&["one"], 2)), podman);
        assert_eq!(flags, "");
        let begins = [
            "spec.startupProbe.httpGet is not carried over",
            "spec.readinessProbe.tcpSocket is not carried over",
            "spec.livenessProbe.exec is not carried over: Podman takes a single word",
        ];
        assert_eq!(notes.len(), 3);
        assert!(notes.iter().zip(begins).all(|(note, begin)| note.starts_with(begin)), "{notes:?}");
    }
}

#[test]
fn every_flag_has_its_key() {
    let template = InstanceTemplate {
        startup_probe: Some(exec(&["s", "1"], 2)),
        liveness_probe: Some(exec(&["l", "1"], 2)),
        ..InstanceTemplate::default()
    };
    for (flag, _) in health(&template, Podman::NEWEST).flags() {
        assert!(key_of(flag).is_some(), "{flag}");
    }
}
