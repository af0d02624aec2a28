//! A process and everything below it, and how to end all of that.
use std::{
    collections::{HashMap, HashSet},
    fs, io,
};

use super::identity::{self, Stat};
use mesh_base::exhausted::is_exhausted;

/// What was read of a process; none of one that has ended or that is not ours to see. Fails only where we ran out of something, because then nothing
/// was seen at all.
fn seen<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_exhausted(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Every process id there is.
pub fn all() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The children of a process, those it adopted included. Fails only where we ran out of something.
pub fn children(pid: i32) -> io::Result<Vec<i32>> {
    let Some(tasks) = seen(fs::read_dir(format!("/proc/{pid}/task")))? else { return Ok(Vec::new()) };
    let mut children = Vec::new();
    for task in tasks.flatten() {
        match seen(fs::read_to_string(task.path().join("children")))? {
            Some(text) => children.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok())),
            // A kernel without CONFIG_PROC_CHILDREN, or a thread that has ended.
            None if Stat::of(pid).is_some() => return Ok(children_by_search(pid)),
            None => {}
        }
    }
    Ok(children)
}

fn children_by_search(parent: i32) -> Vec<i32> {
    all().into_iter().filter(|pid| Stat::of(*pid).is_some_and(|stat| stat.parent == parent)).collect()
}

/// All below a process, nearest first, itself not included. Zombies are listed too: they may have living children no longer, but a place.
/// Fails only where we ran out of something.
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

/// Sends SIGKILL to every living process below `root`, each checked to be there after it was held. How many there were; one at least where that
/// could not be seen, so that the caller does not take it for the end.
pub fn kill_below(root: i32) -> usize {
    let Ok(below) = descendants(root) else { return 1 };
    let below: HashSet<i32> = below.into_iter().collect();
    let is_below = |stat: &Stat| stat.parent == root || below.contains(&stat.parent);
    let kill = |pid: &&i32| {
        let Some(hold) = identity::hold(**pid) else { return false };
        let ours = Stat::of(**pid).is_some_and(|stat| stat.lives() && is_below(&stat));
        if ours {
            identity::kill(&hold);
        }
        ours
    };
    below.iter().filter(kill).count()
}

/// Sends SIGKILL to every living process that carries the nonce. How many there were.
pub fn kill_marked(nonce: &str) -> usize {
    let kill = |pid: &i32| {
        if !identity::has_nonce(*pid, nonce) {
            return false;
        }
        // Held first, checked after: the check before only saves opening a pidfd for every process of the machine.
        let Some(hold) = identity::hold(*pid) else { return false };
        let ours = identity::has_nonce(*pid, nonce) && Stat::of(*pid).is_some_and(|stat| stat.lives());
        if ours {
            identity::kill(&hold);
        }
        ours
    };
    all().into_iter().filter(kill).count()
}

/// What each process id is called, for a message.
pub fn name(pid: i32) -> String {
    let command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let shown: String = command.trim_end().chars().filter(|c| !c.is_control()).collect();
    if shown.is_empty() { format!("pid {pid}") } else { format!("pid {pid} ({shown})") }
}

/// Which of the processes have which sockets open, by inode. Fails only where we ran out of something.
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
pub fn kill_identified(process: &identity::Proc) -> usize {
    let Some(hold) = identity::hold(process.pid) else { return 0 };
    // Looked at after it is held: from here on the id cannot become another's.
    if !Stat::of(process.pid).is_some_and(|stat| stat.lives() && stat.start == process.start) {
        return 0;
    }
    let below = kill_below(process.pid);
    identity::kill(&hold);
    below + 1
}

/// Sends SIGKILL to every living process of a session. How many there were.
pub fn kill_session(session: i32) -> usize {
    let in_session = |pid: i32| Stat::of(pid).is_some_and(|stat| stat.session == session && stat.lives());
    let kill = |pid: &i32| {
        let Some(hold) = in_session(*pid).then(|| identity::hold(*pid)).flatten() else { return false };
        let ours = in_session(*pid);
        if ours {
            identity::kill(&hold);
        }
        ours
    };
    all().into_iter().filter(kill).count()
}
