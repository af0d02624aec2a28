//! What the kernel says of a process: CPU time and memory.
use std::fs;

use anyhow::{Context, Result};

/// User and system time so far, in seconds.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid}"))?;
    let fields: Vec<&str> = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u32>().ok()).unwrap_or(0);
    // Fields 14 and 15 of proc(5), counted from the one after the name; USER_HZ is 100 on Linux.
    Ok(f64::from(ticks(11) + ticks(12)) / 100.0)
}

/// Proportional memory (PSS) in MiB.
pub(crate) fn pss_mib(pid: u32) -> Result<f64> {
    rollup(pid, "Pss:")
}

/// Resident memory in MiB.
pub(crate) fn rss_mib(pid: u32) -> Result<f64> {
    rollup(pid, "Rss:")
}

fn rollup(pid: u32, key: &str) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).with_context(|| format!("process {pid}"))?;
    let kib = text.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_suffix(" kB")?.trim().parse::<u32>().ok());
    kib.map(|kib| f64::from(kib) / 1024.0).context("no such line in smaps_rollup")
}

/// The processes whose program has this name.
pub(crate) fn named(name: &str) -> Vec<u32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == name)).collect()
}
