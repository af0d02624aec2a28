//! The shim's own descriptors. It lives longer than the controller, so what the controller's starter had left open (a `flock`, a listening socket,
//! a terminal) would stay open with it.
use std::{fs, io, os::unix::process::CommandExt, process::Command};

/// Says that this program was executed again for this very purpose.
const AGAIN: &str = "again";

/// Closes all but the three that a process has by right. Descriptors that nobody here owns can only be closed by an exec, so where there are any this
/// program is executed once more. Called first of all, before anything is opened.
pub(crate) fn shed() -> io::Result<()> {
    if std::env::args_os().nth(1).is_some_and(|word| word == AGAIN) {
        // Or it would be called after the link that it was executed by.
        return rustix::thread::set_name(c"mesh-shim").map_err(io::Error::from);
    }
    if !any_inherited()? {
        return Ok(());
    }
    close_fds::set_fds_cloexec(3, &[]);
    Err(Command::new("/proc/self/exe").arg0("mesh-shim").arg(AGAIN).exec())
}

/// At the start nothing is open but what was inherited, and the directory that is being read.
fn any_inherited() -> io::Result<bool> {
    let open = fs::read_dir("/proc/self/fd")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    Ok(open.filter(|fd| *fd > 2).count() > 1)
}
