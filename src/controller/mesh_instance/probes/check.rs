//! One check: an HTTP GET, a TCP connection or a command. Answers in words if it fails; never follows a redirect, never asks anybody but the instance.
use std::{net::SocketAddr, pin::pin, time::Duration};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Request, header, http::uri::PathAndQuery};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use super::Target;
use mesh_api::probe::{HttpGetAction, PortNumber, Probe};
use mesh_backend::Backend;

/// Makes the check that a probe asks for, within its timeout.
pub(super) async fn check(probe: &Probe, target: &Target, backend: &Backend) -> Result<(), String> {
    let limit = Duration::from_secs(u64::try_from(probe.timeout_seconds).unwrap_or(1));
    if let Some(exec) = &probe.exec {
        let launch = target.launch.as_ref().ok_or("the environment of the command is not known")?;
        let output = backend.exec(launch, &exec.command, limit).await.map_err(|error| error.to_string())?;
        return match (output.timed_out, output.code) {
            (true, _) => Err(format!("command: no end within {limit:?}")),
            (false, Some(0)) => Ok(()),
            (false, code) => Err(format!(
                "command: exit code {}: {}",
                code.map_or("none".to_owned(), |code| code.to_string()),
                first_line(&output.output)
            )),
        };
    }
    let work = async {
        match &probe.http_get {
            Some(get) => http_get(get, target).await,
            None => tcp(probe.tcp_socket.as_ref().and_then(|socket| socket.port), target).await,
        }
    };
    timeout(limit, work).await.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")))
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

async fn connect(port: Option<PortNumber>, target: &Target) -> Result<(TcpStream, SocketAddr), String> {
    let address = address(port, target)?;
    let stream = TcpStream::connect(address).await.map_err(|error| format!("connect to {address}: {error}"))?;
    Ok((stream, address))
}

async fn tcp(port: Option<PortNumber>, target: &Target) -> Result<(), String> {
    connect(port, target).await.map(drop)
}

async fn http_get(get: &HttpGetAction, target: &Target) -> Result<(), String> {
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
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let mut answer = pin!(sender.send_request(request));
    let answer = tokio::select! {
        answer = &mut answer => answer,
        // The connection may end in the very step that brought the answer.
        _ = connection => answer.await,
    };
    let status = answer.map_err(|error| format!("GET {}: {error}", get.path))?.status();
    if status.as_u16() >= 200 && status.as_u16() < 400 { Ok(()) } else { Err(format!("GET {}: HTTP status {}", get.path, status.as_u16())) }
}
