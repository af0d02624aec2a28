//! `mesh-controller ready`: asks admin ports whether what is behind them is ready. For images without a shell: health checks and chart tests.
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http_body_util::Empty;
use hyper::{Request, StatusCode, Uri, header::HOST};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use super::{
    exit::{Code, Failure, Result},
    output,
};
use mesh_api::duration::Duration as Wait;

/// For one question, and between two.
const CALL: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(250);
/// Of an answer no more than this is read.
const LIMIT: usize = 64 * 1024;

/// Ask admin ports whether what is behind them is ready, until all are.
#[derive(Debug, Args)]
pub struct Ready {
    /// http://HOST:PORT/readyz of each.
    #[arg(value_name = "URL", required = true)]
    urls: Vec<Uri>,
    /// Give up after this.
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    timeout: Wait,
}

impl Ready {
    /// Asks all of them, one after the other.
    pub(super) async fn run(self) -> Result {
        let deadline = Instant::now() + self.timeout.get();
        for url in &self.urls {
            let (host, port) = place(url)?;
            until_ready(url, &host, port, deadline).await?;
            output::print_line(&format!("{url}: ready"))?;
        }
        Ok(())
    }
}

/// Host and port of a URL in clear HTTP.
fn place(url: &Uri) -> Result<(String, u16)> {
    let wrong = || Failure::new(Code::Usage, format!("{url} is not http://HOST:PORT/PATH"));
    let host = url.host().filter(|_| url.scheme_str() == Some("http")).ok_or_else(wrong)?;
    Ok((host.trim_matches(['[', ']']).to_owned(), url.port_u16().unwrap_or(80)))
}

async fn until_ready(url: &Uri, host: &str, port: u16, deadline: Instant) -> Result {
    loop {
        let why = match timeout(CALL, ask(url, host, port)).await {
            Ok(Ok((StatusCode::OK, _))) => return Ok(()),
            Ok(Ok((status, text))) => format!("{status}: {}", text.trim_end()),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("no answer in {} s", CALL.as_secs()),
        };
        if Instant::now() + PAUSE > deadline {
            return Err(Failure::new(Code::NotReady, format!("{url} is not ready: {why}")));
        }
        sleep(PAUSE).await;
    }
}

async fn ask(url: &Uri, host: &str, port: u16) -> anyhow::Result<(StatusCode, String)> {
    let stream = TcpStream::connect((host, port)).await?;
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let authority = url.authority().map_or(host, |authority| authority.as_str());
    let request = Request::get(path).header(HOST, authority).body(Empty::<Bytes>::new())?;
    let (status, body) = mesh_kit::ask::ask(stream, request, LIMIT).await?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_host_and_port_in_clear_http() {
        let read = |url: &str| place(&url.parse().unwrap()).map_err(|failure| failure.code);
        assert_eq!(read("http://mesh-router-drain.mesh-system:9464/readyz"), Ok(("mesh-router-drain.mesh-system".to_owned(), 9464)));
        assert_eq!(read("http://[::1]:9464/readyz"), Ok(("::1".to_owned(), 9464)));
        assert_eq!(read("http://here/readyz"), Ok(("here".to_owned(), 80)));
        for wrong in ["https://here/readyz", "/readyz", "here:80"] {
            assert_eq!(read(wrong), Err(Code::Usage), "{wrong}");
        }
    }
}
