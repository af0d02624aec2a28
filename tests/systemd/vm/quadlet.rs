//! Hostile specs against the real generator and the real systemd, and units that start and serve by systemd alone.
use std::{collections::BTreeMap, fmt::Write, fs};

use mesh_controller::backend::quadlet::{render, version::Podman};
use rand::{SeedableRng, rngs::StdRng};

use super::machine::Vm;
use crate::quadlet::{
    expected,
    hostile::{self, Case},
    judge,
};

/// How many units the generator reads in one run, and how often it runs.
const UNITS: usize = 2_000;
const RUNS: u64 = 10;

const GENERATOR: &str = "/usr/lib/systemd/system-generators/podman-system-generator --dryrun 2> /dev/null";

/// What the generator made of a folder, by service.
fn services(text: &str) -> BTreeMap<String, String> {
    let mut services = BTreeMap::new();
    let mut name = String::new();
    for line in text.split('\n') {
        if let Some(next) = line.strip_prefix("---").and_then(|line| line.strip_suffix("---")) {
            next.clone_into(&mut name);
        } else {
            let _ = writeln!(services.entry(name.clone()).or_insert_with(String::new), "{line}");
        }
    }
    services
}

/// Writes rendered cases, with the networks and volumes that they name; which service each is to become.
fn write(vm: &Vm, inside: &str, prefix: &str, (seed, count): (u64, usize), host: &render::Host) -> BTreeMap<String, Case> {
    let dir = vm.path(inside);
    drop(fs::remove_dir_all(&dir));
    fs::create_dir_all(&dir).unwrap();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut written = BTreeMap::new();
    while written.len() < count {
        let case = hostile::case(&mut rng);
        let Ok(unit) = render::whole(&case.instance(), host) else { continue };
        let stem = format!("{prefix}{}", written.len());
        fs::write(dir.join(format!("{stem}.container")), unit.text()).unwrap();
        for (file, name) in expected::units(&case.container) {
            let unit =
                if file.ends_with(".network") { Some(render::network(&name, host)) } else { render::volume(&name, host).transpose() };
            if let Some(unit) = unit {
                fs::write(dir.join(file), unit.unwrap().text()).unwrap();
            }
        }
        written.insert(format!("{stem}.service"), case);
    }
    written
}

#[test]
fn the_real_generator_makes_the_meant_command_of_hostile_specs() {
    let Some(vm) = Vm::shared() else { return };
    let (host, inside) = (hostile::host(Podman::new(5, 4)), "/var/tmp/mesh-hostile");
    for seed in 0..RUNS {
        let cases = write(&vm, inside, "case", (seed, UNITS), &host);
        let made = services(&vm.sh(&format!("QUADLET_UNIT_DIRS={inside} {GENERATOR}")));
        for (name, case) in &cases {
            let service = made.get(name).unwrap_or_else(|| panic!("no {name} was made"));
            let commands = judge::commands(&judge::systemd_sections(service)).unwrap_or_else(|error| panic!("{error}\n{service}"));
            assert_eq!(commands.len(), 1, "{service}");
            assert_eq!(judge::run(&commands[0]), expected::run(&case.instance(), &host), "{service}");
        }
    }
}

/// Writes its arguments into a file of its unit's name.
const DUMP: &str = "#!/bin/sh\nprintf '%s\\0' \"$@\" > \"/var/tmp/mesh-words/$UNIT\"\n";
/// What turns a generated service into one that runs that once.
const ONCE: &str = "[Service]\nType=oneshot\nRestart=no\nExecStop=\nExecStopPost=\nEnvironment=UNIT=%N\n";

#[test]
fn the_real_systemd_hands_over_the_meant_words_of_hostile_specs() {
    let Some(vm) = Vm::shared() else { return };
    let (host, inside) = (hostile::host(Podman::new(5, 4)), "/var/tmp/mesh-words-units");
    let cases = write(&vm, inside, "meshwords-", (77, 300), &host);
    vm.write("/var/tmp/mesh-words/dump", DUMP);
    vm.sh("chmod +x /var/tmp/mesh-words/dump");
    let made = services(&vm.sh(&format!("PODMAN=/var/tmp/mesh-words/dump QUADLET_UNIT_DIRS={inside} {GENERATOR}")));
    for (name, service) in made.iter().filter(|(name, _)| !name.is_empty()) {
        vm.write(&format!("/etc/systemd/system/{name}"), service);
        if !cases.contains_key(name) {
            vm.write(&format!("/etc/systemd/system/{name}.d/once.conf"), ONCE);
        }
    }
    vm.write("/etc/systemd/system/meshwords-.service.d/once.conf", ONCE);
    let names: Vec<&str> = cases.keys().map(String::as_str).collect();
    vm.sh(&format!("systemctl daemon-reload; systemctl start {}", names.join(" ")));
    for (name, case) in &cases {
        let bytes = fs::read(vm.path(&format!("/var/tmp/mesh-words/{}", name.trim_end_matches(".service")))).unwrap();
        let words = bytes.strip_suffix(b"\0").unwrap().split(|byte| *byte == 0).map(|word| String::from_utf8(word.to_vec()).unwrap());
        let argv: Vec<String> = ["/usr/bin/podman".to_owned()].into_iter().chain(words).collect();
        assert_eq!(judge::run(&argv), expected::run(&case.instance(), &host), "{}", made[name]);
    }
    let gone: Vec<String> = made.keys().filter(|name| !name.is_empty()).map(|name| format!("/etc/systemd/system/{name}*")).collect();
    vm.sh(&format!("rm -rf /etc/systemd/system/meshwords-.service.d {}; systemctl daemon-reload", gone.join(" ")));
}

/// A service that serves its own arguments and environment, from files that it may write.
const MANIFEST: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: page}
data: {page: "from a config map\n"}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {token: "s3cr3t $HOME %n", file: "in a file\n"}
---
apiVersion: mesh-controller.dev/v1alpha1
kind: MeshService
metadata: {name: words}
spec:
  image: localhost/quadlet:1
  route: /
  replicas: 2
  terminationGracePeriodSeconds: 1
  command: [/bin/sh, -c, 'mkdir /tmp/w; cd /tmp/w; for a in "$@"; do printf "<%s>" "$a"; done > args; printf %s "$ODD" > odd; printf %s "$TOKEN" > token; cat /keys/file /page/page > files; echo $MESH_INSTANCE > name; exec httpd -f -p $PORT -h /tmp/w', sh]
  args: ["100%", "$HOME", "${PATH}", "a \"b\" 'c'", "", ";", "two\nlines", "\t\x01", "é\u2028", "%n", "-x"]
  env:
  - {name: ODD, value: " a\nb \"q\" $HOME %n \\ ; "}
  - {name: TOKEN, valueFrom: {secretKeyRef: {name: keys, key: token}}}
  securityContext: {runAsUser: 1000}
  volumes: [{name: page, configMap: {name: page}}, {name: keys, secret: {secretName: keys, items: [{key: file, path: file}]}}]
  volumeMounts: [{name: page, mountPath: /page}, {name: keys, mountPath: /keys}]
"#;

const IMAGE: &str = "mkdir -p /root/quadlet-image/bin; cp /bin/busybox /root/quadlet-image/bin/; \
    for name in sh httpd mkdir cat printf; do ln -sf busybox /root/quadlet-image/bin/$name; done; \
    tar -C /root/quadlet-image -c . | podman import -q --change ENV=PATH=/bin - localhost/quadlet:1";

/// Without a controller nobody takes an endpoint out while its container is made anew: a request that comes just then may hang in the engine's
/// reserved port, so none is waited for long.
const ANSWERS: &str = "for what in args odd token files; do curl -fsS -m 5 http://127.0.0.1:18431/$what; echo '|'; done";

#[test]
fn installed_units_serve_by_systemd_alone_and_after_a_boot() {
    let Some(mut vm) = Vm::alone() else { return };
    vm.sh(IMAGE);
    vm.write("/root/words/mesh.yaml", MANIFEST);
    let install =
        "cd /root/words; mesh quadlet install --router-listen 18431 --router-admin-listen 127.0.0.1:18432 --port-range 23000-23099";
    vm.sh(install);
    let meant = "<100%><$HOME><${PATH}><a \"b\" 'c'><><;><two\nlines><\t\u{1}><é\u{2028}><%n><-x>|\n a\nb \"q\" $HOME %n \\ ; |\n\
                 s3cr3t $HOME %n|\nin a file\nfrom a config map\n|\n";
    assert_eq!(vm.until("answers", ANSWERS), meant);
    let names = "for i in 1 2 3 4; do curl -fsS http://127.0.0.1:18431/name; done | sort -u | wc -l";
    assert_eq!(vm.until("both instances", names).trim(), "2");
    assert_eq!(vm.sh("grep -rl s3cr3t /etc/containers /etc/systemd /etc/mesh || true"), "");
    let verified = vm.sh("mesh quadlet verify /etc/containers/systemd; cd /root/words; mesh quadlet diff --installed --router-listen 18431 --router-admin-listen 127.0.0.1:18432 --port-range 23000-23099");
    assert!(verified.ends_with("and by the installed generator: 0 errors\n"), "{verified}");

    vm.reboot();
    assert_eq!(vm.until("answers after a boot", ANSWERS), meant);
    vm.sh("podman rm -f -t 0 $(podman ps -q --filter label=mesh-controller.dev/service=words)");
    assert_eq!(vm.until("answers after the containers were removed", ANSWERS), meant);

    // A changed spec: the old revision's units, files and secrets go.
    vm.write("/root/words/mesh.yaml", &MANIFEST.replace("replicas: 2", "replicas: 1").replace("100%", "101%"));
    vm.sh(install);
    vm.until("the new revision", "curl -fsS http://127.0.0.1:18431/args | grep 101%");
    let left = vm.sh("podman ps -q | wc -l; podman secret ls -q | wc -l; find /etc/containers/systemd -name '*@*.container' | wc -l; find /etc/mesh/quadlet -name page -type f | wc -l");
    assert_eq!(left, "1\n2\n2\n1\n");
    vm.sh("mesh podman stop words; test -z \"$(podman ps -q)\"");

    // And as plain services, for a Podman without Quadlet.
    vm.sh(&format!("{install} --podman-version 4.3; test -z \"$(find /etc/containers/systemd -name '*.container')\""));
    assert_eq!(vm.until("answers of plain services", ANSWERS), meant.replace("100%", "101%"));
    vm.sh("systemctl stop mesh-router.socket mesh-router.service 'mesh-default*'; rm -rf /etc/systemd/system/mesh-* /etc/systemd/system/*.wants/mesh-* /etc/mesh/quadlet; systemctl daemon-reload");
}

const TASKS: &str = r#"
apiVersion: mesh-controller.dev/v1alpha1
kind: MeshTask
metadata: {name: tick}
spec:
  schedule: "*/2 * * * * *"
  template: {image: "localhost/quadlet:1", imagePullPolicy: Never, command: [/bin/sh, -c, "echo tick of $MESH_TASK"]}
---
apiVersion: mesh-controller.dev/v1alpha1
kind: MeshTask
metadata: {name: once}
spec:
  backoffLimit: 0
  template: {image: "localhost/quadlet:1", imagePullPolicy: Never, command: [/bin/sh, -c, "echo once; exit 3"]}
"#;

#[test]
fn installed_tasks_run_by_systemd_alone_and_after_a_boot() {
    let Some(mut vm) = Vm::alone() else { return };
    vm.sh(IMAGE);
    vm.write("/root/tasks/mesh.yaml", TASKS);
    let install = "cd /root/tasks; mesh quadlet install --no-router";
    let ticks = "journalctl -b -o cat -u mesh-default.tick.service | grep -c '^tick of tick$' | awk '$1 > 2'";
    for version in ["", " --podman-version 4.3"] {
        vm.sh(&format!("{install}{version}"));
        vm.until("ticks", ticks);
        let failed = vm.run("systemctl start mesh-default.once.service");
        assert!(!failed.status.success(), "{failed:?}");
        let ended = vm.sh("systemctl show -P ExecMainStatus mesh-default.once.service; journalctl -b -o cat -u mesh-default.once.service | grep -c '^once$'");
        assert!(ended.starts_with("3\n"), "{ended}");
        vm.reboot();
        vm.until("ticks after a boot", ticks);
    }

    // A task that is no longer in the file goes, with its timer.
    let (_, once) = TASKS.split_once("---").unwrap();
    vm.write("/root/tasks/mesh.yaml", once);
    vm.sh(&format!("{install} --podman-version 4.3; ! systemctl is-active mesh-default.tick.timer; ! ls /etc/systemd/system/timers.target.wants/mesh-default.tick.timer"));
    vm.sh("rm -rf /etc/systemd/system/mesh-default* /etc/containers/systemd/mesh-default*; systemctl daemon-reload");
}
