//! Runs of tasks as units: they end, are neither restarted nor brought back at boot, and what they came to is told.
use super::{super::machine::Vm, mesh::Mesh};

const TASKS: &str = "apiVersion: mesh-controller.dev/v1alpha1
kind: MeshTask
metadata: {name: good}
spec:
  schedule: '@every 2s'
  concurrencyPolicy: Forbid
  backoffLimit: 0
  template: {image: 'localhost/mesh-test:1', command: [sh, -c, 'echo done at $MESH_SCHEDULED_TIME']}
---
apiVersion: mesh-controller.dev/v1alpha1
kind: MeshTask
metadata: {name: bad}
spec:
  schedule: '@every 2s'
  concurrencyPolicy: Forbid
  backoffLimit: 0
  template: {image: 'localhost/mesh-test:1', command: [sh, -c, 'echo no such table; exit 3']}
";

#[test]
fn runs_of_tasks_end_once_and_leave_no_unit() {
    let Some(vm) = Vm::shared() else { return };
    let mesh = Mesh::start(&vm, "task", 9790);
    mesh.apply(TASKS);
    let told = |task: &str, state: &str, field: &str| {
        let query = format!("{{.status.runs[?(@.state==\"{state}\")].{field}}}");
        let asked = format!("kubectl --kubeconfig /var/lib/mesh-task/kubeconfig -n task get mt {task} -o jsonpath='{query}'");
        mesh.until(&format!("{field} of a run of {task} that is {state}"), &format!("[ -n \"$({asked})\" ]"));
        mesh.kubectl(&format!("get mt {task} -o jsonpath='{query}'"))
    };
    assert!(told("good", "Succeeded", "lastWords").contains("done at 20"));
    assert!(told("bad", "Failed", "lastWords").contains("no such table"));
    assert!(told("bad", "Failed", "exitCode").contains('3'));
    let restarts = vm.sh("systemctl show -P NRestarts 'mesh-task.good-*' 'mesh-task.bad-*' | grep -v '^0*$' || true");
    assert_eq!(restarts, "", "systemd restarts none of them");
    mesh.kubectl("delete mt good bad");
    mesh.until(
        "nothing to be left",
        "[ -z \"$(podman ps -aq --filter label=mesh-controller.dev/namespace=task)$(find /etc/containers/systemd -path '*mesh-task.*' -name '*@*.container')\" ]",
    );
    mesh.stop();
}
