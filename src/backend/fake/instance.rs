//! One instance of the fake backend.
use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;

use mesh_kit::clock;
use mesh_plan::instance::{Exit, ExitHow, Launch, Observed, PortOwner, Running};

/// A program that runs or ran.
#[derive(Debug)]
pub(crate) struct FakeInstance {
    /// As it was started last.
    pub launch: Launch,
    /// Who listens on its port.
    pub owner: PortOwner,
    /// What it wrote.
    pub log: Vec<Bytes>,
    pid: u32,
    since: Timestamp,
    stopping: bool,
    end: Option<(Timestamp, ExitHow)>,
}

impl FakeInstance {
    /// Starts it.
    pub(crate) fn start(launch: Launch, pid: u32, listens: bool, log: Vec<Bytes>) -> Self {
        let owner = match (launch.port(), listens) {
            (None, _) => PortOwner::NoPort,
            (Some(_), true) => PortOwner::Ours,
            (Some(_), false) => PortOwner::Nobody,
        };
        Self { launch, owner, log, pid, since: clock::now(), stopping: false, end: None }
    }

    /// Whether it has not ended.
    pub(crate) fn runs(&self) -> bool {
        self.end.is_none()
    }

    /// Ends it, unless it has ended.
    pub(crate) fn end(&mut self, how: ExitHow) {
        self.end.get_or_insert((clock::now(), how));
    }

    /// Tells it to stop.
    pub(crate) fn stop(&mut self, at_once: bool, grace: Duration) {
        self.stopping = true;
        if at_once {
            self.end(ExitHow::Signal(if grace.is_zero() { 9 } else { 15 }));
        }
    }

    /// What a look at it finds.
    pub(crate) fn observed(&self) -> Observed {
        let (attempt, since) = (self.launch.attempt(), self.since);
        match &self.end {
            Some((at, how)) => Observed::Exited(Exit { attempt, since, at: *at, how: how.clone() }),
            None => Observed::Running(Running {
                attempt,
                pid: self.pid,
                since,
                stopping: self.stopping,
                address: self.launch.port().map(|port| SocketAddr::from(([127, 0, 0, 1], port))),
                port_owner: self.owner.clone(),
                image: None,
            }),
        }
    }
}
