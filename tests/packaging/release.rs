//! What a release has: the tarball and the Debian package that deploy/package.sh makes of the programs.
use std::{path::Path, process::Command};

use mesh_gear::{
    machine::there,
    program::{file, program},
};

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_release_has_the_programs_side_by_side_their_completions_and_the_definitions() {
    let found = ["strip", "objdump", "dpkg-deb"].map(|name| Command::new(name).arg("--version").output().is_ok());
    if !there(found == [true; 3], "strip and objdump (binutils) and dpkg-deb make the packages") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    program("mesh-shim");
    let mut command = Command::new(file("deploy/package.sh"));
    command.arg(dir.path()).env("BIN_DIR", program("mesh").parent().unwrap());
    // Quick, for it is thrown away.
    command.envs([("DPKG_DEB_COMPRESSOR_TYPE", "gzip"), ("DPKG_DEB_COMPRESSOR_LEVEL", "1"), ("GZIP", "-1")]);
    let made = output(&mut command);
    let made: Vec<&Path> = made.lines().map(Path::new).collect();
    let [tarball, package] = made[..] else { panic!("made {made:?}") };
    let name = tarball.file_name().unwrap().to_str().unwrap().strip_suffix(".tar.gz").unwrap();
    let (inside, files) =
        (output(Command::new("tar").arg("-tzf").arg(tarball)), output(Command::new("dpkg-deb").arg("--contents").arg(package)));
    for part in [
        "bin/mesh",
        "bin/mesh-controller",
        "bin/mesh-shim",
        "bin/kubectl-mesh",
        "share/bash-completion/completions/mesh",
        "share/zsh/site-functions/_mesh",
        "share/fish/vendor_completions.d/mesh.fish",
        "share/mesh-controller/crds/meshservices.yaml",
        "share/doc/mesh-controller/copyright",
    ] {
        assert!(inside.lines().any(|line| line == format!("{name}/{part}")), "{part} is not in\n{inside}");
        assert!(files.lines().any(|line| line.split_whitespace().nth(5) == Some(&format!("./usr/{part}"))), "{part} is not in\n{files}");
    }
    let root = dir.path().join("root");
    output(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&root));
    let says = output(Command::new(root.join("usr/bin/kubectl-mesh")).arg("version"));
    assert_eq!(says, format!("mesh {}\n", env!("CARGO_PKG_VERSION")));
    let depends = output(Command::new("dpkg-deb").arg("--field").arg(package).arg("Depends"));
    assert!(depends.starts_with("libc6 (>= 2."), "{depends}");
}
