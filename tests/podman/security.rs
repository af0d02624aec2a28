//! What a container may do and may not, what it may use, and that nobody sees its secrets.
use std::collections::BTreeMap;

use mesh_controller::{
    kit::redact::Redacted,
    plan::{
        container::{Mount, Source},
        environment::Var,
        files::Content,
    },
};

use super::{
    fixture::{IDLE, Machine, eventually},
    host::podman,
};

#[tokio::test]
async fn by_default_it_has_no_capability_gains_none_and_cannot_write_its_root() {
    let Some(machine) = Machine::new("caps").await else { return };
    let script = "grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status; touch /x 2>/dev/null || echo root is read-only; \
                  for d in /tmp /run /var/tmp; do echo a > $d/a && echo $d; done; id -u";
    let said = machine.output(&machine.sh("web", script)).await;
    let words: Vec<&str> = said.split_whitespace().collect();
    let none = "0000000000000000";
    assert_eq!(words, ["CapEff:", none, "CapBnd:", none, "NoNewPrivs:", "1", "root", "is", "read-only", "/tmp", "/run", "/var/tmp", "0"]);

    let mut launch = machine.sh("user", "id -u; id -g; grep CapBnd /proc/self/status; touch /data/x && echo written");
    launch.container.security.user = Some(1000);
    launch.container.security.group = Some(1001);
    launch.container.security.add = vec!["NET_BIND_SERVICE".into()];
    let source = Source::Volume { volume: format!("{}-user-data", machine.prefix), owned: true };
    launch.container.mounts = vec![Mount { name: "data".into(), target: "/data".into(), read_only: false, source }];
    let said = machine.output(&launch).await;
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(words, ["1000", "1001", "CapBnd:", "0000000000000400", "written"]);
    machine.remove(&launch.key).await;
    assert_eq!(podman(&["volume", "ls", "-q", "--filter", &machine.filter()]).await.unwrap(), "", "what it owned went with it");
}

#[tokio::test]
async fn files_are_mounted_read_only_with_their_mode_and_go_with_the_instance() {
    let Some(machine) = Machine::new("files").await else { return };
    let mut launch = machine.sh(
        "web",
        "cat /etc/app/a; stat -c %a /etc/app/a; touch /etc/app/b 2>/dev/null || echo no; df -k /mem | tail -n 1 | awk '{print $2}'",
    );
    let files = BTreeMap::from([("a".to_owned(), Content(b"hello\n".to_vec()))]);
    launch.container.mounts = vec![
        Mount {
            name: "config".into(),
            target: "/etc/app".into(),
            read_only: true,
            source: Source::Files { files, mode: 0o440, secret: true },
        },
        Mount { name: "mem".into(), target: "/mem".into(), read_only: false, source: Source::Memory { size: Some(1 << 20) } },
    ];
    assert_eq!(machine.output(&launch).await, "hello\n440\nno\n1024\n");
    let dir = machine.state.path().join("volumes").join(&launch.key.uid);
    assert!(dir.exists());
    machine.remove(&launch.key).await;
    assert!(!dir.exists());
}

#[tokio::test]
async fn limits_are_those_of_the_control_group() {
    let Some(machine) = Machine::new("limits").await else { return };
    if !machine.backend.engine().info().cgroup_controllers.iter().any(|it| it == "memory") {
        eprintln!("SKIPPED: the engine has no memory controller");
        return;
    }
    let mut launch = machine.sh("web", "tail /dev/zero");
    launch.container.resources.memory = Some(16 << 20);
    launch.container.resources.cpu_milli = Some(250);
    let key = machine.start(&launch).await;
    let exit = machine.exited(&key).await;
    assert_eq!(exit.how, mesh_controller::plan::instance::ExitHow::Signal(9), "out of memory");
    assert_eq!(
        machine.inspect("web", "{{.HostConfig.Memory}} {{.HostConfig.CpuQuota}} {{.HostConfig.CpuPeriod}}").await,
        "16777216 25000 100000"
    );
}

#[tokio::test]
async fn a_secret_is_in_no_argument_vector_no_inspect_and_no_debug_text() {
    let Some(machine) = Machine::new("canary").await else { return };
    let canary = "canary-7f3a9c";
    let mut launch = machine
        .sh("web", "sleep 0; [ -n \"$(cat /secret/token)\" ] && echo file; echo \"${#TOKEN}\"; trap 'exit 0' TERM; sleep 100 & wait");
    let files = BTreeMap::from([("token".to_owned(), Content(canary.as_bytes().to_vec()))]);
    let source = Source::Files { files, mode: 0o400, secret: true };
    launch.container.mounts = vec![Mount { name: "secret".into(), target: "/secret".into(), read_only: true, source }];
    let masks = machine.backend.engine().masks_secret_env();
    if masks {
        launch.container.env.push(Var { name: "TOKEN".into(), value: Redacted::new(canary), secret: true });
    }
    assert!(!format!("{launch:?}").contains(canary));
    let key = machine.start(&launch).await;
    let length = if masks { canary.len() } else { 0 };
    eventually("words", async || (machine.log(&key).await == format!("file\n{length}\n")).then_some(())).await;
    let name = launch.container.name.as_str();
    for look in [vec!["inspect", name], vec!["ps", "-a", "--format", "json"], vec!["secret", "inspect", "--format", "{{.}}", "-"]] {
        let shown = podman(&look).await.unwrap_or_default();
        assert!(!shown.contains(canary), "{look:?} shows it");
    }
    let shown = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(canary)));
    assert_eq!(shown.count(), 0, "a command line shows it");
    if masks {
        let secrets = podman(&["secret", "ls", "--format", "{{.Name}}"]).await.unwrap();
        let ours = format!("mesh-{}", machine.backend.controller().split('-').next().unwrap());
        assert_eq!(secrets.lines().filter(|name| name.starts_with(&ours)).count(), 1);
        machine.stop(&key, std::time::Duration::ZERO).await;
        machine.exited(&key).await;
        machine.remove(&key).await;
        let secrets = podman(&["secret", "ls", "--format", "{{.Name}}"]).await.unwrap();
        assert_eq!(secrets.lines().filter(|name| name.starts_with(&ours)).count(), 0, "unused secrets go");
    }
}

#[tokio::test]
async fn members_of_a_network_find_each_other_by_name() {
    let Some(machine) = Machine::new("dns").await else { return };
    machine.start(&machine.server("api")).await;
    let script = "for i in 1 2 3 4 5 6 7 8 9 10; do wget -q -O - http://api:8080/ 2>&1 | grep -q 404 && exit 0; sleep 0.2; done; exit 1";
    machine.output(&machine.sh("web", script)).await;
    let stats = machine.backend.usage().await.unwrap();
    assert!(stats.iter().any(|it| it.key.name == "api" && !it.cpu.is_zero()), "{stats:?}");
}

#[tokio::test]
async fn one_who_listens_on_loopback_only_is_told_so() {
    use mesh_controller::plan::instance::PortOwner;
    let Some(machine) = Machine::new("loopback").await else { return };
    let mut launch = machine.server("web");
    launch.container.command[2] = "trap 'exit 0' TERM; sleep 0.3; httpd -f -p 127.0.0.1:8080 -h /data & wait".into();
    let key = machine.start(&launch).await;
    assert_eq!(machine.running(&key).await.port_owner, PortOwner::Nobody);
    eventually("listener", async || (machine.running(&key).await.port_owner == PortOwner::LoopbackOnly).then_some(())).await;
    drop(machine.sh("x", IDLE));
}
