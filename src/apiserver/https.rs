//! HTTPS: accepts connections, knows the client by its certificate or token, and hands requests to the service. Limits and timeouts are on.
use std::{convert::Infallible, sync::Arc, time::Duration};

use http::Response;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tower::Service;

use crate::{
    auth::Door,
    body,
    credentials::Credentials,
    peer::{Peer, Sending, Strangers},
    server::ApiServer,
    service::ApiService,
};
use mesh_kit::{accept::accept, descriptors, shutdown::Shutdown};

/// How many connections there may be, and how long they may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// At most so many at once; more wait to be accepted.
    pub(crate) connections: usize,
    /// At most so many of them have not shown who they are.
    pub(crate) strangers: usize,
    /// For TLS.
    pub(crate) handshake: Duration,
    /// Until the head of a request is there, for who has not shown who they are.
    pub(crate) stranger: Duration,
    /// The same for who has; longer than clients keep connections for the next request.
    pub(crate) known: Duration,
}

impl Limits {
    /// Those of a process that may have so many file descriptors.
    pub(crate) fn under(descriptors: u64) -> Self {
        let (connections, seconds) = (descriptors::share(descriptors), Duration::from_secs);
        Self {
            connections,
            strangers: (connections / 2).min(STRANGERS),
            handshake: seconds(10),
            stranger: seconds(10),
            known: seconds(120),
        }
    }
}

/// More of those who have not shown who they are need not be heard.
const STRANGERS: usize = 100;
/// How long an idle connection that is to be closed has for it.
const CLOSING: Duration = Duration::from_secs(5);

/// Why the server cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The certificates do not make a TLS configuration.
    #[error("TLS of the API server: {0}")]
    Tls(String),
}

/// Makes the TLS side of a server from its credentials.
fn tls(credentials: &Credentials) -> Result<TlsAcceptor, ServeError> {
    let error = |error: &dyn std::fmt::Display| ServeError::Tls(error.to_string());
    let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| error(&e));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(certificate(&credentials.ca.certificate)?).map_err(|e| error(&e))?;
    // Without a certificate a client may still have the token; who has neither is answered 401.
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).allow_unauthenticated().build();
    let key = PrivateKeyDer::from_pem_slice(credentials.server.key.reveal().as_bytes()).map_err(|e| error(&e))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| error(&e))?
        .with_client_cert_verifier(verifier.map_err(|e| error(&e))?)
        .with_single_cert(vec![certificate(&credentials.server.certificate)?], key)
        .map_err(|e| error(&e))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

impl ApiServer {
    /// Serves HTTPS until shutdown; then watches end, answers under way are finished, and connections close.
    ///
    /// # Errors
    /// The credentials cannot be used.
    pub async fn run(self, listener: TcpListener, credentials: Credentials, shutdown: Shutdown) -> Result<(), ServeError> {
        self.run_within(Limits::under(descriptors::limit()), listener, credentials, shutdown).await
    }

    pub(crate) async fn run_within(
        self,
        limits: Limits,
        listener: TcpListener,
        credentials: Credentials,
        shutdown: Shutdown,
    ) -> Result<(), ServeError> {
        let acceptor = tls(&credentials)?;
        let door = Arc::new(Door::new(credentials.token.clone(), credentials.address));
        let places = Arc::new(Semaphore::new(limits.connections));
        let strangers = Strangers::new(limits.strangers);
        loop {
            let (place, stream) = tokio::select! {
                () = shutdown.triggered() => return Ok(()),
                accepted = async { (Arc::clone(&places).acquire_owned().await, accept(&listener, "API").await) } => accepted,
            };
            // Without it small answers only come later; the connection works all the same.
            let _ = stream.set_nodelay(true);
            let peer = strangers.enter();
            let connection = Connection { server: self.clone(), door: Arc::clone(&door), strangers: Arc::clone(&strangers), peer, limits };
            let (acceptor, end) = (acceptor.clone(), shutdown.triggered());
            shutdown.spawn_work(async move {
                let served = tokio::select! {
                    served = connection.serve(acceptor, stream, end) => served,
                    () = connection.peer.sent_away() => Err("it gave way to another one before it had shown who it is".into()),
                };
                if let Err(error) = served {
                    tracing::debug!(%error, "a connection to the API server ended with an error");
                }
                connection.strangers.leave(&connection.peer);
                drop(place);
            });
        }
    }
}

/// What one connection is served with.
#[derive(Debug, Clone)]
struct Connection {
    server: ApiServer,
    door: Arc<Door>,
    strangers: Arc<Strangers>,
    peer: Arc<Peer>,
    limits: Limits,
}

impl Connection {
    async fn serve(
        &self,
        acceptor: TlsAcceptor,
        stream: TcpStream,
        end: impl Future<Output = ()>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let Limits { handshake, stranger, known, .. } = self.limits;
        let stream = timeout(handshake, acceptor.accept(stream)).await??;
        let has_certificate = stream.get_ref().1.peer_certificates().is_some_and(|chain| !chain.is_empty());
        let this = self.clone();
        let service = service_fn(move |request| this.clone().answer(has_certificate, request));
        let mut builder = auto::Builder::new(TokioExecutor::new());
        // How long a head may take is bounded below, for both protocols and before it is known which it is.
        builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_headers(100);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(250)
            .max_header_list_size(64 << 10)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20));
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection, end);
        tokio::select! {
            result = connection.as_mut() => return result,
            () = end => {}
            () = self.peer.idle(stranger, known) => {}
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            result = connection.as_mut() => result,
            () = self.peer.idle(CLOSING, CLOSING) => Ok(()),
        }
    }

    async fn answer(self, has_certificate: bool, request: http::Request<Incoming>) -> Result<Response<Sending>, Infallible> {
        let under_way = self.peer.begin();
        let response = match self.door.admit(request.uri(), request.headers(), has_certificate) {
            Ok(user) => {
                self.strangers.recognise(&self.peer);
                ApiService::new(self.server.0, user).call(request).await?
            }
            Err(error) => body::error(&error),
        };
        Ok(response.map(|body| under_way.until_sent(body)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_not_shown_who_it_is_has_100_places_at_the_most_and_half_of_few_and_ten_seconds_for_each_step() {
        let under = |descriptors| {
            let limits = Limits::under(descriptors);
            (limits.connections, limits.strangers)
        };
        assert_eq!([32_000, 6400, 3200, 1024, 64].map(under), [(1000, 100), (200, 100), (100, 50), (32, 16), (8, 4)]);
        let Limits { handshake, stranger, known, .. } = Limits::under(1024);
        assert_eq!([handshake, stranger, known].map(|time| time.as_secs()), [10, 10, 120]);
    }
}
