//! The shim: holds one program, its log and its exit status, and outlives the controller. Single-threaded and synchronous, so that hundreds
//! of them cost next to nothing. Its own session, and the reaper of every descendant of the program, however often that forks.
//!
//! Started by the backend with a socket as standard input, over which it gets its [`Order`] and answers once. Of one that holds a program the same
//! socket then stays as the first control connection. Decides nothing but what it was told: SIGTERM, the grace, SIGKILL to the tree.
mod below;
pub mod cgroup;
mod command;
mod control;
mod descriptors;
pub mod dir;
pub mod guard;
pub mod identity;
pub mod instance;
mod launch;
pub mod log;
pub mod record;
mod run;
mod signals;
mod time;
pub mod tree;
pub mod wire;

use std::{
    io,
    os::{fd::AsFd, unix::net::UnixStream},
    process::ExitCode,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{
    dir::RECORD,
    record::Record,
    wire::{Order, Reply, ShimSpec},
};

/// The shim's whole life. Called by `main` of `mesh-shim`, before any thread is started.
pub fn main() -> ExitCode {
    match descriptors::shed().and_then(|()| io::stdin().as_fd().try_clone_to_owned()) {
        Ok(stdin) => live(UnixStream::from(stdin)),
        Err(_) => ExitCode::FAILURE,
    }
}

fn live(controller: UnixStream) -> ExitCode {
    // Fails only for one that leads a group already; then a session was made by whoever started it.
    let _ = rustix::process::setsid();
    match read_order(&controller) {
        Ok(Order::Hold(spec)) => hold(*spec, controller),
        Ok(Order::Run(spec)) => answer(&controller, &command::run(*spec, &controller)),
        Err(error) => answer(&controller, &failed("read the order", &error)),
    }
}

fn hold(spec: ShimSpec, controller: UnixStream) -> ExitCode {
    let (reply, running) = match start(spec, &controller) {
        Ok(running) => (Reply::Started(Box::new(running.record().clone())), Some(running)),
        Err(reply) => (reply, None),
    };
    answer(&controller, &reply);
    match running {
        Some(running) => running.run(controller),
        None => ExitCode::FAILURE,
    }
}

/// The controller may be gone by now; a program is kept all the same.
fn answer(controller: &UnixStream, reply: &Reply) -> ExitCode {
    let sent = wire::line(reply).map_err(io::Error::from).and_then(|line| control::send(controller, &line));
    if sent.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read_order(controller: &UnixStream) -> io::Result<Order> {
    let mut bytes = Vec::new();
    let mut chunk = [0_u8; 8192];
    while bytes.last() != Some(&b'\n') {
        let count = rustix::io::read(controller, &mut chunk)?;
        bytes.extend_from_slice(chunk.get(..count).unwrap_or_default());
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(serde_json::from_slice(&bytes)?)
}

fn start(spec: ShimSpec, controller: &UnixStream) -> Result<run::Running, Reply> {
    // From here on names are relative: the socket's path could be longer than an address may be.
    std::env::set_current_dir(&spec.dir).map_err(|error| failed("enter the instance's directory", &error))?;
    let lock = dir::take_lock().map_err(|error| failed("lock the instance's directory", &error))?.ok_or(Reply::Held)?;
    if is_stale(&spec, controller) {
        return Err(Reply::Held);
    }
    harden().map_err(|error| failed("prepare the shim", &error))?;
    let signals = signals::Signals::install().map_err(|error| failed("watch signals", &error))?;
    let launched = launch::launch(spec);
    if launched.is_err() {
        // Nothing of this start is left, so nothing may speak of it.
        let _ = record::remove(RECORD.as_ref());
    }
    Ok(run::Running::new(launched?, signals, lock))
}

/// A shim may come to run late. By then its controller may be dead, and the next one may have made this very attempt and seen its end.
fn is_stale(spec: &ShimSpec, controller: &UnixStream) -> bool {
    let mut hung_up = [PollFd::new(controller, PollFlags::empty())];
    let alone = poll(&mut hung_up, Some(&Timespec::default())).is_ok_and(|count| count > 0);
    let former: Option<Record> = record::read(RECORD.as_ref()).ok().flatten();
    alone || former.is_some_and(|record| record.attempt == spec.launch.attempt)
}

fn harden() -> io::Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(rustix::thread::set_no_new_privs(true)?)
}

fn failed(act: &str, error: &io::Error) -> Reply {
    Reply::Failed { act: act.to_owned(), error: error.to_string(), errno: error.raw_os_error() }
}
