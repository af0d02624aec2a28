//! A process and everything below it, and how to end all of that. Fails only where something was used up: then nothing was seen, and what was to be ended
//! may live.
use std::{
    collections::{HashMap, HashSet},
    fs, io,
};

use super::identity::{self, Stat};
use mesh_base::exhausted::seen;

/// Every process id there is.
pub fn all() -> io::Result<Vec<i32>> {
    let entries = fs::read_dir("/proc")?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// The children of a process, those it adopted included.
pub fn children(pid: i32) -> io::Result<Vec<i32>> {
    let Some(tasks) = seen(fs::read_dir(format!("/proc/{pid}/task")))? else { return Ok(Vec::new()) };
    let mut children = Vec::new();
    for task in tasks.flatten() {
        match seen(fs::read_to_string(task.path().join("children")))? {
            Some(text) => children.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok())),
            // A kernel without CONFIG_PROC_CHILDREN, or a thread that has ended.
            None if Stat::of(pid)?.is_some() => return children_by_search(pid),
            None => {}
        }
    }
    Ok(children)
}

fn children_by_search(parent: i32) -> io::Result<Vec<i32>> {
    let mut children = Vec::new();
    for pid in all()? {
        if Stat::of(pid)?.is_some_and(|stat| stat.parent == parent) {
            children.push(pid);
        }
    }
    Ok(children)
}

/// All below a process, nearest first, itself not included. Zombies are listed too: they may have living children no longer, but a place.
pub fn descendants(root: i32) -> io::Result<Vec<i32>> {
    let mut seen = HashSet::from([root]);
    let mut found = Vec::new();
    let mut next = children(root)?;
    while let Some(pid) = next.pop() {
        if seen.insert(pid) {
            next.extend(children(pid)?);
            found.push(pid);
        }
    }
    Ok(found)
}

/// Sends SIGKILL to every living process below `root`. How many there were.
pub fn kill_below(root: i32) -> io::Result<usize> {
    let below: HashSet<i32> = descendants(root)?.into_iter().collect();
    kill_each(below.iter().copied(), |_, stat| Ok(stat.parent == root || below.contains(&stat.parent)))
}

/// Sends SIGKILL to every living process that carries the nonce. How many there were.
pub fn kill_marked(nonce: &str) -> io::Result<usize> {
    let mut marked = Vec::new();
    for pid in all()? {
        // Only saves opening a pidfd for every process of the machine.
        if identity::has_nonce(pid, nonce)? {
            marked.push(pid);
        }
    }
    kill_each(marked, |pid, _| identity::has_nonce(pid, nonce))
}

/// Sends SIGKILL to those of the processes that live and are ours: each is held first and looked at after, so that its id cannot become another's in
/// between. How many there were.
fn kill_each(pids: impl IntoIterator<Item = i32>, is_ours: impl Fn(i32, &Stat) -> io::Result<bool>) -> io::Result<usize> {
    let mut killed = 0;
    for pid in pids {
        let Some(hold) = identity::hold(pid)? else { continue };
        let Some(stat) = Stat::of(pid)?.filter(Stat::lives) else { continue };
        if is_ours(pid, &stat)? {
            identity::kill(&hold);
            killed += 1;
        }
    }
    Ok(killed)
}

/// What each process id is called, for a message.
pub fn name(pid: i32) -> String {
    let command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let shown: String = command.trim_end().chars().filter(|c| !c.is_control()).collect();
    if shown.is_empty() { format!("pid {pid}") } else { format!("pid {pid} ({shown})") }
}

/// Which of the processes have which sockets open, by inode.
pub fn sockets(pids: impl IntoIterator<Item = i32>) -> io::Result<HashMap<u64, i32>> {
    let mut found = HashMap::new();
    for pid in pids {
        let Some(fds) = seen(fs::read_dir(format!("/proc/{pid}/fd")))? else { continue };
        let links = fds.flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
        let inodes = links.filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
        for inode in inodes {
            found.entry(inode).or_insert(pid);
        }
    }
    Ok(found)
}

/// Sends SIGKILL to a process that still is the one that was identified, and to all below it. How many there were.
pub fn kill_identified(process: &identity::Proc) -> io::Result<usize> {
    let Some(hold) = identity::hold(process.pid)? else { return Ok(0) };
    // Looked at after it is held: from here on the id cannot become another's.
    if !identity::lives(process)? {
        return Ok(0);
    }
    let below = kill_below(process.pid)?;
    identity::kill(&hold);
    Ok(below + 1)
}

/// Sends SIGKILL to every living process of a session. How many there were.
pub fn kill_session(session: i32) -> io::Result<usize> {
    let mut members = Vec::new();
    for pid in all()? {
        if Stat::of(pid)?.is_some_and(|stat| stat.session == session) {
            members.push(pid);
        }
    }
    kill_each(members, |_, stat| Ok(stat.session == session))
}
