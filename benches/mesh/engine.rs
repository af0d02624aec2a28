//! A Podman of the benchmark's own (tests/podman/engine.sh), and an image for it. Needs root.
use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

/// The image that is measured with: busybox, whose httpd answers on port 8080.
pub(crate) const IMAGE: &str = "localhost/mesh-bench:1";

pub(crate) struct Engine {
    dir: TempDir,
}

impl Engine {
    pub(crate) fn start() -> Result<Self> {
        let engine = Self { dir: tempfile::tempdir()? };
        let owner = std::process::id().to_string();
        script("tests/podman/engine.sh", &["start".as_ref(), engine.dir.path(), owner.as_ref()])?;
        engine.image()?;
        Ok(engine)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("engine.sock")
    }

    /// A folder that lives as long as the engine.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// podman's command line; what it printed, if it went well.
    pub(crate) fn podman(&self, args: &[&str]) -> Result<String> {
        let mut all: Vec<&Path> = vec!["podman".as_ref(), self.dir.path()];
        all.extend(args.iter().map(Path::new));
        Ok(String::from_utf8(script("tests/podman/engine.sh", &all)?.stdout)?.trim().to_owned())
    }

    /// A program that is podman's command line on this engine, for those who want one.
    pub(crate) fn program(&self) -> Result<PathBuf> {
        let path = self.dir.path().join("podman");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/podman/engine.sh");
        std::fs::write(&path, format!("#!/bin/sh\nexec '{}' podman '{}' \"$@\"\n", script.display(), self.dir.path().display()))?;
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        Ok(path)
    }

    fn image(&self) -> Result<()> {
        let root = self.dir.path().join("root");
        for dir in ["bin", "www", "tmp", "run", "var/tmp"] {
            std::fs::create_dir_all(root.join(dir))?;
        }
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).context("busybox-static is not installed")?;
        std::os::unix::fs::symlink("busybox", root.join("bin/httpd"))?;
        std::fs::write(root.join("www/index.html"), "hello\n")?;
        let archive = self.dir.path().join("image.tar");
        script("tests/images/image.py", &[&root, IMAGE.as_ref(), &archive])?;
        self.podman(&["load", "-q", "-i", &archive.to_string_lossy()]).map(drop)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // With whatever a part that failed has left.
        let _ = script("tests/podman/engine.sh", &["stop".as_ref(), self.dir.path()]);
    }
}

fn script(path: &str, args: &[&Path]) -> Result<Output> {
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).args(args).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        bail!("{path}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(output)
}
