//! The product in the cluster: its image, made from the programs of this build, and deploy/ as a user applies it.
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::machine::{Cluster, Namespace};

/// The folder that `kubectl apply -f` takes.
pub(crate) const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy");
const IMAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/images");

impl Cluster {
    /// Controller and routers, from deploy/; returns when all are ready.
    pub(crate) fn install(&self) {
        self.load_image(&["controller.sh"], "controller.tar");
        self.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", DEPLOY], "");
        self.kubectl(&["-n", "mesh-system", "wait", "--for=condition=Available", "deployment", "--all", "--timeout=90s"], "");
    }

    /// Makes an image with a script of tests/images, which gets the archive's name, and loads it into the node.
    pub(crate) fn load_image(&self, script: &[&str], archive: &str) {
        let file = self.dir().join(archive);
        let (name, args) = script.split_first().unwrap();
        run(Command::new(Path::new(IMAGES).join(name)).args(args).arg(&file).env("BIN_DIR", bin_dir()));
        self.script("load", &[file.to_str().unwrap()]);
    }

    /// Where the routers' Service answers.
    pub(crate) fn router(&self) -> SocketAddr {
        let ip = self.kubectl(&["-n", "mesh-system", "get", "service", "mesh-router", "-o", "jsonpath={.spec.clusterIP}"], "");
        SocketAddr::new(ip.parse().unwrap(), 80)
    }
}

/// Where cargo has put the programs.
pub(crate) fn bin_dir() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_mesh-controller")).parent().unwrap().to_owned()
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The example shop, as its users have it.
pub(crate) fn shop() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/shop-containers/mesh.yaml")).unwrap()
}

/// Waits until every service of a namespace is ready.
pub(crate) fn ready(space: &Namespace<'_>) {
    let output = space.try_kubectl("wait --for=condition=Ready msvc --all --timeout=90s");
    if !output.status.success() {
        let seen = space.kubectl("get msvc,deploy,pods,endpointslices -o wide");
        panic!("{}\n{seen}\n{}", String::from_utf8_lossy(&output.stderr), space.kubectl("describe msvc"));
    }
}
