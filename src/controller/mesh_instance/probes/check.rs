//! One check: an HTTP GET, a TCP connection or a command. Answers in words if it fails; never follows a redirect, never asks anybody but the instance.
use std::{io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Request, header, http::uri::PathAndQuery};
use tokio::{net::TcpStream, time::timeout};

use super::Target;
use mesh_api::probe::{ExecAction, HttpGetAction, PortNumber, Probe};
use mesh_backend::{self as backend, Backend};
use mesh_base::exhausted::is_exhausted;
use mesh_kit::ask::ask;
use mesh_plan::{
    instance::{Observed, PortOwner},
    lifecycle::port_trouble,
};

/// Why a check did not pass.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The instance failed it.
    Theirs(String),
    /// It could not be made, for a cause on our side: nothing is known.
    Ours(String),
}

impl From<String> for Trouble {
    fn from(why: String) -> Self {
        Self::Theirs(why)
    }
}

impl Trouble {
    /// What a backend said.
    pub(super) fn of(error: &backend::Error) -> Self {
        if error.is_ours() { Self::Ours(error.to_string()) } else { Self::Theirs(error.to_string()) }
    }
}

/// Makes the check that a probe asks for, within its timeout.
pub(super) async fn check(probe: &Probe, target: &Target, backend: &Backend) -> Result<(), Trouble> {
    let limit = Duration::from_secs(u64::try_from(probe.timeout_seconds).unwrap_or(1));
    if let Some(exec) = &probe.exec {
        return command(exec, target, backend, limit).await;
    }
    let port = probe.http_get.as_ref().map_or_else(|| probe.tcp_socket.as_ref().and_then(|socket| socket.port), |get| get.port);
    if is_own(port, target) {
        owned(target, backend).await?;
    }
    let work = async {
        match &probe.http_get {
            Some(get) => http_get(get, target).await,
            None => connect(port, target).await.map(drop),
        }
    };
    timeout(limit, work).await.unwrap_or_else(|_| Err(format!("no answer within {limit:?}").into()))
}

async fn command(exec: &ExecAction, target: &Target, backend: &Backend, limit: Duration) -> Result<(), Trouble> {
    let launch = target.launch.as_ref().ok_or_else(|| Trouble::Ours("the environment of the command is not known".to_owned()))?;
    let output = backend.exec(launch, &exec.command, limit).await.map_err(|error| match error {
        // Whatever the shim could not do says nothing about the command.
        backend::Error::System { .. } => Trouble::Ours(error.to_string()),
        error => Trouble::of(&error),
    })?;
    match (output.timed_out, output.code) {
        (true, _) => Err(format!("command: no end within {limit:?}").into()),
        (false, Some(0)) => Ok(()),
        (false, code) => {
            let code = code.map_or("none".to_owned(), |code| code.to_string());
            Err(format!("command: exit code {code}: {}", first_line(&output.output)).into())
        }
    }
}

/// Whether the port is the one that the instance was given.
fn is_own(port: Option<PortNumber>, target: &Target) -> bool {
    let given = target.address.map(|address| address.port());
    given.is_some() && port.is_none_or(|port| Some(port.0) == given || Some(port.0) == target.inside)
}

/// Nobody else is asked in the instance's place: its port may have been taken over since the last time.
async fn owned(target: &Target, backend: &Backend) -> Result<(), Trouble> {
    match backend.observe(&target.key).await {
        Ok(Observed::Running(running)) => match (port_trouble(&running), running.port_owner) {
            (Some((_, why)), _) => Err(why.into()),
            (None, PortOwner::Unknown(why)) => Err(Trouble::Ours(why)),
            (None, _) => Ok(()),
        },
        Ok(Observed::Absent | Observed::Exited(_)) => Err("the program has ended".to_owned().into()),
        Err(error) => Err(Trouble::Ours(error.to_string())),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn address(port: Option<PortNumber>, target: &Target) -> Result<SocketAddr, String> {
    match (target.address, port) {
        (Some(address), None) => Ok(address),
        (Some(address), Some(port)) if target.inside == Some(port.0) => Ok(address),
        (Some(address), Some(port)) => Ok(SocketAddr::new(address.ip(), port.0)),
        (None, Some(port)) => Ok(SocketAddr::from(([127, 0, 0, 1], port.0))),
        (None, None) => Err("the instance has no port".to_owned()),
    }
}

async fn connect(port: Option<PortNumber>, target: &Target) -> Result<(TcpStream, SocketAddr), Trouble> {
    let address = address(port, target)?;
    let stream = TcpStream::connect(address).await.map_err(|error| not_connected(address, &error))?;
    Ok((stream, address))
}

fn not_connected(address: SocketAddr, error: &io::Error) -> Trouble {
    let why = format!("connect to {address}: {error}");
    if is_exhausted(error) { Trouble::Ours(why) } else { Trouble::Theirs(why) }
}

async fn http_get(get: &HttpGetAction, target: &Target) -> Result<(), Trouble> {
    let (stream, address) = connect(get.port, target).await?;
    let path = PathAndQuery::try_from(get.path.as_str()).map_err(|error| format!("path {:?}: {error}", get.path))?;
    let mut request = Request::get(path.as_str())
        .header(header::HOST, address.to_string())
        .header(header::USER_AGENT, concat!("mesh-probe/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close");
    for extra in &get.http_headers {
        request = request.header(&extra.name, &extra.value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    let (status, _) = ask(stream, request, 0).await.map_err(|error| format!("GET {}: {error}", get.path))?;
    if !(200..400).contains(&status.as_u16()) {
        return Err(format!("GET {}: HTTP status {}", get.path, status.as_u16()).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_up_on_our_side_is_never_the_instances_fault() {
        let address = SocketAddr::from(([127, 0, 0, 1], 20000));
        let of = |errno: i32| not_connected(address, &io::Error::from_raw_os_error(errno));
        for (errno, name) in [(24, "EMFILE"), (23, "ENFILE"), (12, "ENOMEM"), (99, "EADDRNOTAVAIL"), (11, "EAGAIN")] {
            assert!(matches!(of(errno), Trouble::Ours(_)), "{name}");
        }
        for (errno, name) in [(111, "ECONNREFUSED"), (104, "ECONNRESET"), (113, "EHOSTUNREACH")] {
            assert!(matches!(of(errno), Trouble::Theirs(_)), "{name}");
        }
        let fork = backend::Error::System { act: "start the shim".into(), source: io::Error::from_raw_os_error(11) };
        assert!(matches!(Trouble::of(&fork), Trouble::Ours(_)));
    }
}
