//! A small disk of the test's own, mounted for as long as the test holds it. A mount needs root.
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::machine::there;

pub struct Disk {
    home: TempDir,
}

impl Disk {
    /// One in memory, of so many bytes as `mount` writes them; none where it cannot be mounted.
    pub fn in_memory(size: &str) -> Option<Self> {
        Self::able().then(|| {
            let disk = Self::unmounted();
            run("mount", &["-t", "tmpfs", "-o", &format!("size={size},mode=700"), "mesh-test", text(&disk.path())]);
            disk
        })
    }

    /// One with an ext4 in a file.
    pub fn ext4(size: &str) -> Option<Self> {
        let tools = ["mkfs.ext4", "truncate"].iter().all(|tool| Command::new(tool).arg("--version").output().is_ok());
        let able = Self::able() && there(tools && Path::new("/dev/loop-control").exists(), "needs mkfs.ext4, truncate and loop devices");
        able.then(|| {
            let disk = Self::unmounted();
            let image = disk.image();
            run("truncate", &["-s", size, text(&image)]);
            run("mkfs.ext4", &["-q", "-m", "0", text(&image)]);
            disk.mount();
            disk
        })
    }

    fn able() -> bool {
        there(rustix::process::geteuid().is_root(), "a disk of the test's own needs root")
    }

    fn unmounted() -> Self {
        let disk = Self { home: tempfile::tempdir().unwrap() };
        fs::create_dir(disk.path()).unwrap();
        disk
    }

    fn image(&self) -> PathBuf {
        self.home.path().join("image")
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.home.path().join("disk")
    }

    /// For the state of a controller.
    pub fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// Takes all room that is left.
    pub fn fill(&self) {
        let mut filler = File::options().create(true).append(true).open(self.filler()).unwrap();
        for chunk in [vec![1; 1 << 20], vec![1; 4 << 10]] {
            while filler.write_all(&chunk).is_ok() {}
        }
    }

    /// Gives that room back.
    pub fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    /// What a file system does that finds itself damaged: from now on it is read-only, and stays so until it is mounted anew.
    pub fn abort(&self) {
        run("mount", &["-o", "remount,abort", text(&self.path())]);
    }

    /// Nobody may work on it any more.
    pub fn mount_anew(&self) {
        run("umount", &[text(&self.path())]);
        self.mount();
    }

    /// The processes that have something open there.
    pub fn users(&self) -> Vec<i32> {
        let all = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        all.filter(|pid: &i32| {
            let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            open.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|target| target.starts_with(self.path()))
        })
        .collect()
    }

    fn mount(&self) {
        run("mount", &["-o", "loop", text(&self.image()), text(&self.path())]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A test that failed may have left something running on it: a controller that cannot write ends nothing.
        for user in self.users().into_iter().filter_map(Pid::from_raw) {
            for child in children(user) {
                let _ = kill_process(child, Signal::KILL);
            }
            let _ = kill_process(user, Signal::KILL);
        }
        let _ = Command::new("umount").args(["--lazy", text(&self.path())]).status();
    }
}

fn children(of: Pid) -> Vec<Pid> {
    let listed = fs::read_to_string(format!("/proc/{0}/task/{0}/children", of.as_raw_nonzero())).unwrap_or_default();
    listed.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn run(program: &str, words: &[&str]) {
    let output = Command::new(program).args(words).output().unwrap();
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}
