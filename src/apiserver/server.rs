//! HTTPS: accepts connections, knows the client by its certificate or token, and hands requests to the service. Limits and timeouts are on.
use std::{convert::Infallible, io, sync::Arc, time::Duration};

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

use super::{
    ApiServer,
    auth::Door,
    body::{self, Body},
    credentials::Credentials,
    service::ApiService,
};
use mesh_kit::shutdown::Shutdown;

/// At most so many connections at once; more wait to be accepted.
const CONNECTIONS: usize = 1000;
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEADERS: Duration = Duration::from_secs(20);
/// How long an accept loop rests after an error such as too many open files.
const REST: Duration = Duration::from_millis(100);

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
        let acceptor = tls(&credentials)?;
        let door = Arc::new(Door::new(credentials.token.clone(), credentials.address));
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                () = shutdown.triggered() => return Ok(()),
                accepted = accept(&listener, &places) => accepted,
            };
            let (stream, place) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection to the API server could not be accepted");
                    tokio::time::sleep(REST).await;
                    continue;
                }
            };
            let (server, door, acceptor, end) = (self.clone(), Arc::clone(&door), acceptor.clone(), shutdown.triggered());
            shutdown.spawn_work(async move {
                if let Err(error) = connection(server, door, acceptor, stream, end).await {
                    tracing::debug!(%error, "a connection to the API server ended with an error");
                }
                drop(place);
            });
        }
    }
}

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, place))
}

async fn connection(
    server: ApiServer,
    door: Arc<Door>,
    acceptor: TlsAcceptor,
    stream: TcpStream,
    end: impl Future<Output = ()>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let stream = timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    let has_certificate = stream.get_ref().1.peer_certificates().is_some_and(|chain| !chain.is_empty());
    let service = service_fn(move |request| answer(server.clone(), Arc::clone(&door), has_certificate, request));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS).max_headers(100);
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
        () = end => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

async fn answer(
    server: ApiServer,
    door: Arc<Door>,
    has_certificate: bool,
    request: http::Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    match door.admit(request.uri(), request.headers(), has_certificate) {
        Ok(user) => ApiService::new(server.0, user).call(request).await,
        Err(error) => Ok(body::error(&error)),
    }
}
