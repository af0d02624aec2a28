//! Each check by its facts.
use std::path::PathBuf;

use super::*;
use mesh_backend::podman::left::{Made, What};

use crate::doctor::facts::{
    Cgroups, Engine, EngineKind, Generator, Leftovers, Port, PortState, Range, Selinux, StateDir, StateDirState, SubIds, Systemd, User,
};

/// A machine on which all is well, seen by `bob`.
fn well() -> Facts {
    Facts {
        purpose: None,
        user: User { name: "bob".to_owned(), uid: 1000 },
        engine: Engine::Answers { socket: "/run/user/1000/podman/podman.sock".into(), kind: EngineKind::Podman, version: Some((5, 4)) },
        leftovers: Leftovers::new(),
        cgroups: Cgroups { version: Some(2), delegated: Some(["cpu", "memory", "pids"].map(str::to_owned).to_vec()) },
        systemd: Systemd { booted: true, user_manager: true, lingering: true },
        sub_ids: SubIds { counts: (65_536, 65_536), newuidmap: true },
        selinux: Selinux::Absent,
        ports: vec![port(PortState::Free)],
        range: Range { ports: "20000-29999".parse().unwrap(), taken: 3, ephemeral: Some((32_768, 60_999)) },
        generator: Some(Generator { path: "/g".into(), version: Some((5, 4)) }),
        state_dir: StateDir { path: "/home/bob/.local/state/mesh".into(), state: StateDirState::There { mode: 0o700, owner: 1000 } },
        shim: ("/usr/bin/mesh-shim".into(), true),
        kubectl: Some("/usr/bin/kubectl".into()),
    }
}

fn port(state: PortState) -> Port {
    Port { what: "API", flag: "--api-listen", address: "127.0.0.1:443".parse().unwrap(), state }
}

/// What is not well: level, check, text, remedy.
fn complaints(change: impl FnOnce(&mut Facts)) -> Vec<String> {
    let mut facts = well();
    change(&mut facts);
    let bad = all(&facts).into_iter().filter(|finding| finding.level != Level::Ok);
    bad.map(|finding| format!("{} {}: {} -> {}", finding.level.name(), finding.check, finding.text, finding.fix.unwrap_or_default()))
        .collect()
}

#[track_caller]
fn complains(change: impl FnOnce(&mut Facts), expected: &[&str]) {
    let found = complaints(change);
    let all_there = expected.len() == found.len()
        && expected.iter().zip(&found).all(|(wanted, found)| wanted.split('…').all(|part| found.contains(part)));
    assert!(all_there, "found {found:#?}\nnot {expected:#?}");
}

#[test]
fn where_all_is_well_nothing_is_said_against_it() {
    complains(|_| {}, &[]);
    assert_eq!(all(&well()).len(), 13);
}

#[test]
fn an_engine_that_cannot_be_used_is_told_with_the_command_that_mends_it() {
    let looked = || vec![PathBuf::from("/run/user/1000/podman/podman.sock")];
    let engine = |engine: Engine| move |facts: &mut Facts| facts.engine = engine;
    complains(
        engine(Engine::Absent { looked: looked(), podman: false }),
        &["warning engine: no container engine… -> sudo apt-get install podman"],
    );
    complains(
        engine(Engine::Absent { looked: looked(), podman: true }),
        &["looked for /run/user/1000/podman/podman.sock) -> systemctl --user enable --now podman.socket"],
    );
    complains(
        |facts| {
            facts.engine = Engine::Absent { looked: looked(), podman: true };
            facts.systemd = Systemd { booted: false, user_manager: false, lingering: false };
            facts.purpose = Some(Purpose::Podman);
        },
        &[
            "error engine: … -> podman system service --time=0 unix:///run/user/1000/podman/podman.sock &",
            "warning systemd: it does not run here",
        ],
    );
    complains(engine(Engine::Denied("/var/run/docker.sock".into())), &["may not be opened by bob -> sudo usermod -aG docker bob"]);
    complains(engine(Engine::Denied("/run/podman/podman.sock".into())), &["-> systemctl --user enable --now podman.socket"]);
    complains(
        engine(Engine::Silent("/var/run/docker.sock".into(), "refused".into())),
        &["refused -> sudo systemctl enable --now docker.socket"],
    );
    complains(engine(Engine::NotUnix("tcp://x".into())), &["tcp://x: only engines on this machine"]);
    let podman = |version| Engine::Answers { socket: "/s".into(), kind: EngineKind::Podman, version };
    complains(engine(podman(Some((3, 4)))), &["Podman 3.4 at /s is too old"]);
    complains(engine(podman(Some((4, 0)))), &[]);
    complains(engine(Engine::Answers { socket: "/s".into(), kind: EngineKind::Docker, version: Some((28, 2)) }), &[]);
    complains(
        engine(Engine::Answers { socket: "/s".into(), kind: EngineKind::Other("x".into()), version: None }),
        &["what answers at /s is no engine: x"],
    );
}

#[test]
fn containers_of_another_controller_are_told_and_how_they_go() {
    complains(
        |facts| facts.leftovers = Leftovers::from(["a", "b"].map(|name| made(What::Container, name, false))),
        &[
            "warning other controllers: 2 containers are of controllers with other… of id-1: a, b… -> podman rm -f $(podman ps -aq --filter label=mesh-controller.dev/controller=id-1)",
        ],
    );
}

fn made(what: What, name: &str, gone: bool) -> Made {
    Made { what, name: name.to_owned(), controller: "id-1".to_owned(), gone }
}

#[test]
fn what_nobody_owns_is_told_and_how_it_goes() {
    complains(
        |facts| {
            facts.leftovers = vec![
                made(What::Unit, "u@0.service", true),
                made(What::Container, "a", true),
                made(What::Network, "n", true),
                made(What::Network, "other", false),
                made(What::Volume, "v", true),
            ];
        },
        &[
            "warning left behind: …gone: unit u@0.service, container a, network n, volume v -> mesh doctor --remove-unowned (with --volumes also the volumes, with their data)",
        ],
    );
}

#[test]
fn what_the_wanted_backend_does_not_need_is_no_error() {
    let nothing = |facts: &mut Facts| {
        facts.engine = Engine::Absent { looked: Vec::new(), podman: false };
        facts.generator = None;
        facts.sub_ids = SubIds { counts: (0, 0), newuidmap: false };
        facts.cgroups.version = Some(1);
        facts.shim.1 = false;
    };
    let with = |purpose| complaints(|facts| (nothing(facts), facts.purpose = Some(purpose)).1);
    let errors = |purpose| {
        let errors = with(purpose).into_iter().filter(|text| text.starts_with("error "));
        errors.map(|text| text["error ".len()..].split(':').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(errors(Purpose::Process), ["mesh-shim"]);
    assert_eq!(errors(Purpose::Podman), ["engine", "subordinate ids", "newuidmap"]);
    assert_eq!(errors(Purpose::Quadlet), ["subordinate ids", "newuidmap", "cgroups", "quadlet"]);
    assert!(complaints(nothing).iter().all(|text| text.starts_with("warning ")), "without a backend nothing of it is an error");
}

#[test]
fn what_a_user_without_root_lacks_is_told_and_root_lacks_none_of_it() {
    let lacking = |facts: &mut Facts| {
        facts.sub_ids = SubIds { counts: (65_536, 10), newuidmap: false };
        facts.systemd.lingering = false;
        facts.systemd.user_manager = false;
        facts.cgroups.delegated = Some(vec!["memory".to_owned(), "pids".to_owned()]);
    };
    complains(
        lacking,
        &[
            "bob has 65536 in /etc/subuid and 10 in /etc/subgid… -> sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 bob && podman system migrate",
            "newuidmap: it is missing… -> sudo apt-get install uidmap",
            "bob may not limit cpu: … -> …Delegate=cpu cpuset io memory pids",
            "systemd: it runs, but not for bob… -> sudo loginctl enable-linger bob",
            "lingering: it is off… -> sudo loginctl enable-linger bob",
        ],
    );
    complains(
        |facts| {
            lacking(facts);
            facts.user = User { name: "root".to_owned(), uid: 0 };
            facts.cgroups.delegated = None;
            facts.state_dir.state = StateDirState::Missing { can_be_made: true };
        },
        &[],
    );
}

#[test]
fn ports_that_others_have_are_told_by_who_has_them() {
    let taken = |name: &str, pid| PortState::Taken(Some((name.to_owned(), pid)));
    for (state, said) in [
        (
            taken("nginx", 7),
            Some(
                "error API port: 127.0.0.1:443 is taken by nginx (process 7) -> stop that one (ss -ltnp 'sport = :443' shows it), or --api-listen",
            ),
        ),
        (PortState::Taken(None), Some("a process of another user")),
        (taken("mesh-controller", 7), None),
        (taken("systemd", 1), None),
        (PortState::Denied(1024), Some("ports below 1024 are not for users -> sudo sysctl -w net.ipv4.ip_unprivileged_port_start=443")),
        (PortState::Unusable("no such address".to_owned()), Some("the API cannot listen there: no such address")),
    ] {
        complains(|facts| facts.ports = vec![port(state)], said.as_slice());
    }
    complains(|facts| facts.range.taken = 10_000, &["error instances' ports: all of 20000-29999 are taken"]);
    complains(|facts| facts.range.ephemeral = Some((1024, 20_000)), &["overlaps with the ports of outgoing connections (1024-20000)"]);
}

#[test]
fn a_state_directory_that_is_not_ones_own_alone_is_told() {
    let state = |state: StateDirState| move |facts: &mut Facts| facts.state_dir.state = state;
    complains(
        state(StateDirState::There { mode: 0o755, owner: 1000 }),
        &["warning state directory: … can be read by others (755)… -> chmod 700"],
    );
    complains(state(StateDirState::There { mode: 0o700, owner: 0 }), &["error … number 0, not to bob -> sudo chown -R bob"]);
    complains(state(StateDirState::Missing { can_be_made: false }), &["error … cannot be made by bob -> sudo install -d -m 700 -o bob"]);
    complains(state(StateDirState::Unreadable("denied".to_owned())), &["error … denied"]);
    complains(state(StateDirState::Unusable("store.redb is damaged".to_owned())), &["error … is damaged -> a backup of"]);
}

#[test]
fn selinux_says_what_volumes_need() {
    let mut facts = well();
    facts.selinux = Selinux::Enforcing;
    let found = host::selinux(&facts).unwrap();
    assert!(found.level == Level::Ok && found.text.contains("chcon -Rt container_file_t"), "{found:?}");
}

#[test]
fn a_podman_before_quadlet_is_told() {
    let version = |version| move |facts: &mut Facts| facts.generator = Some(Generator { path: "/g".into(), version });
    complains(version(Some((4, 3))), &["warning quadlet: Podman 4.3 is older than Quadlet"]);
    complains(version(None), &["says no version"]);
}
