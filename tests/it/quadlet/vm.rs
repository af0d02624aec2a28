//! The hostile specs against the real thing: thousands of units through the generator of the Podman in a VM, its `ExecStart=` read as systemd does.
//! `MESH_TEST_VM` is the root of a running VM (see tests/vm); without it the test says that it skips.
use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use mesh_controller::backend::quadlet::{render, version::Podman};
use rand::{SeedableRng, rngs::StdRng};

use super::{
    expected,
    hostile::{self, Case},
    judge,
};

/// How many units the generator reads in one run, and how often it runs.
const UNITS: usize = 2_000;
const RUNS: u64 = 15;

/// A running VM.
struct Vm(PathBuf);

impl Vm {
    fn from_env() -> Option<Self> {
        let root = std::env::var_os("MESH_TEST_VM").map(PathBuf::from);
        if root.is_none() {
            eprintln!("skipped: MESH_TEST_VM names no running VM");
        }
        root.map(Self)
    }

    /// A command inside, by its leader's namespaces.
    fn run(&self, script: &str) -> String {
        let pid = fs::read_to_string(self.0.with_extension("pid"))
            .unwrap_or_else(|_| fs::read_to_string(format!("{}.pid", self.0.display())).unwrap());
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", pid.trim())).unwrap();
        let leader = children.split_whitespace().next().unwrap();
        let output = Command::new("nsenter").args(["-t", leader, "-m", "-u", "-i", "-n", "-p", "--", "sh", "-c", script]).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

/// What the generator made of a folder, by service.
fn services(text: &str) -> BTreeMap<String, String> {
    let mut services = BTreeMap::new();
    let mut name = String::new();
    for line in text.split('\n') {
        if let Some(next) = line.strip_prefix("---").and_then(|line| line.strip_suffix("---")) {
            name = next.to_owned();
        } else {
            let _ = writeln!(services.entry(name.clone()).or_insert_with(String::new), "{line}");
        }
    }
    services
}

/// Writes rendered cases, each with the networks and volumes that it names; which file each became.
fn write(dir: &Path, seed: u64, host: &render::Host) -> BTreeMap<String, Case> {
    drop(fs::remove_dir_all(dir));
    fs::create_dir_all(dir).unwrap();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut written = BTreeMap::new();
    while written.len() < UNITS {
        let case = hostile::case(&mut rng);
        let Ok(unit) = render::whole(&case.instance(), host) else { continue };
        let stem = format!("case{}", written.len());
        fs::write(dir.join(format!("{stem}.container")), unit.text()).unwrap();
        for (file, name) in expected::units(&case.container) {
            let unit = match file.rsplit_once('.').unwrap().1 {
                "network" => Some(render::network(&name, host).unwrap()),
                _ => render::volume(&name, host).unwrap(),
            };
            if let Some(unit) = unit {
                fs::write(dir.join(file), unit.text()).unwrap();
            }
        }
        written.insert(format!("{stem}.service"), case);
    }
    written
}

#[test]
fn the_real_generator_makes_the_same_command_of_hostile_specs() {
    let Some(vm) = Vm::from_env() else { return };
    let host = hostile::host(Podman::new(5, 4));
    let inside = "/var/tmp/mesh-hostile";
    let dir = vm.0.join(&inside[1..]);
    for seed in 0..RUNS {
        let cases = write(&dir, seed, &host);
        let made =
            vm.run(&format!("QUADLET_UNIT_DIRS={inside} /usr/lib/systemd/system-generators/podman-system-generator --dryrun 2>/dev/null"));
        let made = services(&made);
        for (name, case) in &cases {
            let service = made.get(name).unwrap_or_else(|| panic!("no {name} was made"));
            let read = judge::systemd_sections(service);
            let commands = judge::commands(&read).unwrap_or_else(|error| panic!("{error}\n{service}"));
            assert_eq!(commands.len(), 1, "{service}");
            assert_eq!(judge::run(&commands[0]), expected::run(&case.instance(), &host), "{service}");
        }
    }
    fs::remove_dir_all(&dir).unwrap();
    println!("{} units", UNITS as u64 * RUNS);
}
