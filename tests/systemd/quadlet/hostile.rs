//! Specs made to break out: line breaks, quotes, `%`, `$`, dashes, control characters, in every string that a container has.
//! Each is refused with the field's name, or means the same to Podman as the container does, and no line is there that was not meant.
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use mesh_controller::{
    api::container::ImagePullPolicy,
    backend::quadlet::{
        parse, render,
        unit::Unit,
        version::{Podman, Systemd},
    },
    kit::redact::Redacted,
    plan::{
        container::{Container, Mount, Published, Resources, Security, Source},
        environment::Var,
        files::Content,
    },
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::{expected, judge};

const CASES: usize = 100_000;

const PIECES: [&str; 62] = [
    "\n",
    "\r",
    "\r\n",
    "\0",
    "\"",
    "'",
    "\\",
    "%",
    "%n",
    "%%",
    "%t",
    "$",
    "$$",
    "${PATH}",
    "$HOME",
    "$(id)",
    "-",
    "--privileged",
    "--volume=/:/h",
    ";",
    " ",
    "",
    "\t",
    "\u{2028}",
    "\u{2029}",
    "\u{85}",
    "\u{80}",
    "\u{a0}",
    "\u{feff}",
    "\u{3000}",
    "../",
    "/",
    ":",
    ",",
    "=",
    "[Service]",
    "ExecStartPre=/bin/evil",
    "PodmanArgs=--privileged",
    "#",
    "\\n",
    "\\x41",
    "\\\n",
    "`id`",
    "&&",
    "|",
    "{{.}}",
    "é",
    "🦀",
    "\u{1}",
    "\u{1b}[31m",
    "\u{7f}",
    ".container",
    ".image",
    "@",
    "a",
    "B",
    "0",
    "/app",
    "x y",
    "${MESH_EMPTY}",
    "*",
    "~",
];

/// A text of a few pieces, now and then of 64 KB.
fn text(rng: &mut StdRng) -> String {
    let mut out = String::new();
    for _ in 0..rng.random_range(0..6) {
        out += PIECES.choose(rng).unwrap();
    }
    if rng.random_ratio(1, 500) { out.repeat(65_536 / out.len().max(1)) } else { out }
}

/// A hostile text in front of, behind or instead of a harmless one.
fn spoil(rng: &mut StdRng, harmless: &str) -> String {
    match rng.random_range(0..4) {
        0 => text(rng),
        1 => text(rng) + harmless,
        _ => harmless.to_owned() + &text(rng),
    }
}

/// An instance that is owned.
pub(crate) struct Case {
    pub(crate) namespace: String,
    pub(crate) service: String,
    pub(crate) revision: String,
    pub(crate) name: String,
    pub(crate) container: Container,
}

impl Case {
    pub(crate) fn instance(&self) -> render::Instance<'_> {
        let Self { namespace, service, revision, name, container } = self;
        render::Instance { namespace, service, revision, name, ordinal: 0, container, health: None, after: &[] }
    }
}

/// A harmless container with something of everything.
pub(crate) fn harmless() -> Case {
    let files = BTreeMap::from([("app.conf".to_owned(), Content(b"a".to_vec()))]);
    let mount = |name: &str, target: &str, source| Mount { name: name.to_owned(), target: target.to_owned(), read_only: true, source };
    let container = Container {
        name: "mesh-shop-api-7f3c0a12-0".to_owned(),
        image: "localhost/bb:1".to_owned(),
        pull: ImagePullPolicy::Never,
        command: vec!["/bin/httpd".to_owned(), "-f".to_owned()],
        args: vec!["-p".to_owned(), "8080".to_owned()],
        working_dir: Some("/app".to_owned()),
        env: vec![
            Var { name: "LOG".to_owned(), value: Redacted::new("info"), secret: false },
            Var { name: "MESH_INSTANCE".to_owned(), value: Redacted::new("api-7f3c0a12-0"), secret: false },
            Var { name: "TOKEN".to_owned(), value: Redacted::new("s3cret"), secret: true },
        ],
        port: Some(Published { container: 8080, host: 20_000 }),
        network: "mesh-shop".to_owned(),
        aliases: vec!["api".to_owned(), "api-7f3c0a12-0".to_owned()],
        mounts: vec![
            mount("config", "/etc/app", Source::Files { files: files.clone(), mode: 0o644, secret: false }),
            mount("keys", "/keys", Source::Files { files, mode: 0o400, secret: true }),
            mount("data", "/data", Source::Volume { volume: "mesh-shop-data".to_owned(), owned: false }),
            mount("tmp", "/scratch", Source::Memory { size: Some(1 << 20) }),
            mount("host", "/host", Source::Host { path: "/srv/app".to_owned(), kind: None }),
        ],
        resources: Resources { memory: Some(64 << 20), cpu_milli: Some(500), memory_request: None, cpu_request_milli: Some(100) },
        security: Security {
            user: Some(1000),
            group: None,
            read_only_root: true,
            no_new_privileges: true,
            drop: vec!["ALL".to_owned()],
            add: vec!["NET_RAW".to_owned()],
        },
        stop_grace: Duration::from_secs(3),
        labels: BTreeMap::from([("app.kubernetes.io/name".to_owned(), "api".to_owned())]),
    };
    let [namespace, service, revision, name] = ["shop", "api", "7f3c0a12", "api-7f3c0a12-0"].map(ToOwned::to_owned);
    Case { namespace, service, revision, name, container }
}

/// One to three of its strings spoilt.
pub(crate) fn case(rng: &mut StdRng) -> Case {
    let mut case = harmless();
    for _ in 0..rng.random_range(1..=3) {
        let c = &mut case.container;
        match rng.random_range(0..31) {
            0 => case.namespace = spoil(rng, &case.namespace),
            1 => case.service = spoil(rng, &case.service),
            2 => case.revision = spoil(rng, &case.revision),
            3 => c.name = spoil(rng, &c.name),
            4 => c.image = spoil(rng, &c.image),
            5 => c.working_dir = Some(spoil(rng, "/app")),
            6 => c.network = spoil(rng, &c.network),
            7 => c.aliases.push(spoil(rng, "alias")),
            8 => c.env[0].name = spoil(rng, "LOG"),
            9 => c.env[2].name = spoil(rng, "TOKEN"),
            10 => c.env[2].value = Redacted::new(text(rng)),
            11 => c.mounts[rng.random_range(0..5)].name = spoil(rng, "m"),
            12 => c.mounts[rng.random_range(0..5)].target = spoil(rng, "/t"),
            13 => c.mounts[4].source = Source::Host { path: spoil(rng, "/srv"), kind: None },
            14 => c.mounts[2].source = Source::Volume { volume: spoil(rng, "data"), owned: rng.random() },
            15 => {
                let files = BTreeMap::from([(spoil(rng, "app.conf"), Content(text(rng).into_bytes()))]);
                c.mounts[0].source = Source::Files { files, mode: 0o644, secret: rng.random() };
            }
            16 => drop(c.labels.insert(spoil(rng, "key"), text(rng))),
            17 => c.security.drop.push(spoil(rng, "ALL")),
            18 => c.security.add.push(spoil(rng, "NET_RAW")),
            19 => drop(c.labels.insert("note".to_owned(), text(rng))),
            20..=22 => c.env[0].value = Redacted::new(text(rng)),
            23 => c.command = (0..rng.random_range(0..4)).map(|_| text(rng)).collect(),
            24 => c.command[1..].iter_mut().for_each(|word| *word = text(rng)),
            25 => c.args.clear(),
            _ => c.args = (0..rng.random_range(1..5)).map(|_| text(rng)).collect(),
        }
        if case.container.command.is_empty() {
            case.container.command.push("/bin/httpd".to_owned());
        }
    }
    case
}

pub(crate) fn host(podman: Podman) -> render::Host {
    render::Host { podman, systemd: Some(Systemd(257)), data: PathBuf::from("/etc/mesh/quadlet"), image_units: false }
}

/// The constant part of what Quadlet adds by itself, which the model leaves out.
fn constants() -> impl Iterator<Item = (String, String)> {
    let pairs = [("replace", "true"), ("rm", "true"), ("detach", "true"), ("cgroups", "split"), ("sdnotify", "conmon")];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()))
}

/// Judges a unit by the model of its readers.
fn judge(case: &Case, unit: &Unit, host: &render::Host) {
    let text = unit.text();
    let sections = judge::quadlet_sections(&text).unwrap();
    let keys = |sections: &judge::Sections, name: &str| -> Vec<String> {
        sections.iter().filter(|(section, _)| section == name).flat_map(|(_, lines)| lines.iter().map(|(key, _)| key.clone())).collect()
    };
    for name in ["Unit", "Container", "Service", "Install"] {
        let meant: Vec<String> =
            unit.entries().iter().filter(|entry| entry.key.section().name() == name).map(|entry| entry.key.name().to_owned()).collect();
        assert_eq!(keys(&sections, name), meant, "{text}");
    }
    let service = judge::generate(&sections, &expected::units(&case.container)).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let read = judge::systemd_sections(&service);
    let mut wanted = keys(&sections, "Service");
    wanted.push("ExecStart".to_owned());
    assert_eq!(keys(&read, "Service"), wanted, "{service}");
    assert_eq!(keys(&read, "X-Container"), keys(&sections, "Container"), "{service}");
    let commands = judge::commands(&read).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(commands.len(), 1);
    let mut found = judge::run(&commands[0]);
    found.flags.extend(constants());
    found.flags.sort();
    assert_eq!(found, expected::run(&case.instance(), host), "{text}");
    // Our own reader agrees.
    assert_eq!(&parse::unit(&text).unwrap_or_else(|error| panic!("{error}\n{text}")).text(), &text);
}

#[test]
fn a_hundred_thousand_hostile_specs_add_nothing_and_lose_nothing() {
    let mut rng = StdRng::seed_from_u64(24);
    let versions = [Podman::new(4, 4), Podman::new(4, 6), Podman::new(4, 9), Podman::new(5, 0), Podman::new(5, 4), Podman::new(5, 7)];
    let (mut rendered, mut refused) = (0, BTreeMap::<String, usize>::new());
    for _ in 0..CASES {
        let case = case(&mut rng);
        let host = host(*versions.choose(&mut rng).unwrap());
        match render::whole(&case.instance(), &host) {
            Ok(unit) => {
                judge(&case, &unit, &host);
                rendered += 1;
            }
            Err(error) => {
                let message = error.to_string();
                let (field, what) = message.split_once(": ").unwrap_or_else(|| panic!("no field in {message:?}"));
                assert!(!field.is_empty() && !what.is_empty(), "{message:?}");
                let field: String = field.chars().take(24).filter(|c| !c.is_control()).collect();
                *refused.entry(field).or_default() += 1;
            }
        }
    }
    let refusals: usize = refused.values().sum();
    println!("{rendered} rendered, {refusals} refused");
    assert!(
        rendered > CASES / 4 && refusals > CASES / 10,
        "{rendered} rendered, {refusals} refused: the cases are not what they should be"
    );
}

#[test]
fn the_parts_of_an_instance_together_are_the_whole() {
    let case = harmless();
    let host = host(Podman::new(5, 4));
    let instance = case.instance();
    let (template, drop_in) = (render::template(&instance, &host).unwrap(), render::drop_in(&instance, &host).unwrap());
    let sorted = |unit: &Unit| {
        let mut lines: Vec<String> = unit.text().lines().map(ToOwned::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&template.with(&drop_in)), sorted(&render::whole(&instance, &host).unwrap()));
    assert!(!template.text().contains("api-7f3c0a12-0") && !template.text().contains("20000"), "{}", template.text());
    assert!(!template.text().contains("s3cret") && !drop_in.text().contains("s3cret"));
}
