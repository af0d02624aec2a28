//! One request: find its route, pick an endpoint, pass it on, bring the response back; again where that is safe.
//!
//! Elsewhere is safe while no instance can have it: no connection was made, or a kept one had closed before the request was put in. Once it was sent, no other
//! instance gets it: it may be the request that ends them. A kept connection that ends before an answer begins may only have crossed with the request, though
//! (RFC 9112, 9.3.1): then a `GET`, `HEAD` or `OPTIONS` without a body is sent once more, to the same instance, if that takes a new connection.
pub mod body;
pub mod expect;
pub mod session;

use std::{cell::Cell as StdCell, convert::Infallible, io, pin::pin, rc::Rc, sync::Arc, task::Poll};

use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{CONNECTION, HOST, UPGRADE},
    request::Parts,
};
use hyper::body::{Body, Incoming};
use tokio::time::Instant;

use super::{
    answer::Refusal,
    balance::{Choice, pick},
    conn::{Cell, body::ClientBody},
    endpoint::{Endpoint, InFlight},
    forward::{self, Peer},
    metrics::UpstreamError,
    pool::{self, RequestBody, Upstream},
    settings::Limits,
    table::{Route, Service, path},
    upgrade,
    worker::{Slot, Worker},
};
use body::{AnswerBody, Record};
use expect::Expectation;
use mesh_kit::exhausted::is_exhausted;
use session::Sticky;

/// So many endpoints are tried for one request.
const MOST_TRIED: usize = 6;

/// A client's connection, as its requests see it.
#[derive(Debug)]
pub struct Client {
    /// Shared with the IO below.
    pub cell: Arc<Cell>,
    /// The worker it is on.
    pub worker: Rc<Worker>,
    /// Who it is.
    pub peer: Peer,
    /// How many requests it has made.
    pub requests: StdCell<u64>,
    /// Its place among all connections; a tunnel keeps it.
    pub slot: Rc<Slot>,
}

/// Answers one request.
pub async fn respond(client: Rc<Client>, request: Request<Incoming>) -> Result<Response<AnswerBody>, Infallible> {
    let number = client.requests.get() + 1;
    client.requests.set(number);
    client.cell.go_on();
    let mut record = Record::new(client.clone());
    let has_body = !request.body().is_end_stream();
    let outcome = match client.cell.refusal(number) {
        Some(reject) => Err(reject.into()),
        None => exchange(&client, number, request, &mut record).await,
    };
    client.cell.answered();
    let response = match outcome {
        Ok(response) => response.map(|found| (found, None)),
        Err(refusal) => refusal.answer(record.service.as_ref().map(|s| &s.label), has_body).map(|text| (body::Source::own(text), Some(()))),
    };
    if client.cell.may_upgrade(number) {
        client.cell.decide(response.status() == StatusCode::SWITCHING_PROTOCOLS);
    }
    record.status = response.status();
    Ok(response.map(|(source, _)| AnswerBody::new(source, record)))
}

/// What was found out about a request before it is sent.
struct Plan {
    route: Route,
    limits: Limits,
    sticky: Option<Sticky>,
}

async fn exchange(
    client: &Rc<Client>,
    number: u64,
    mut request: Request<Incoming>,
    record: &mut Record,
) -> Result<Response<body::Source>, Refusal> {
    let plan = plan(client, &request, record)?;
    client.cell.expect_answer(plan.route.service.request_limit);
    let wanted = if client.cell.may_upgrade(number) { upgrade::wanted(&request) } else { None };
    let on_client = wanted.is_some().then(|| hyper::upgrade::on(&mut request));
    let (mut parts, body) = request.into_parts();
    let expects = expect::expects(&parts);
    prepare(&mut parts, &client.peer, wanted.is_some());
    let (request, expectation) = with_body(parts, body, &client.cell, expects);
    let mut sent = send(client, &plan, request).await?;
    let mut response = sent.response;
    let refused = expectation.and_then(|expectation| expectation.answered(response.status()));
    if let (Some(key), Some(on_client)) = (&wanted, on_client) {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return tunnel(client, &plan, key, on_client, response, sent.in_flight);
        }
        // Not upgraded: an answer like any other, on a connection that is not used again.
        sent.upstream = None;
    } else if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        client.worker.proxy.metrics.failed(UpstreamError::Protocol);
        return Err(Refusal::UpstreamProtocol);
    }
    if !forward::is_framed_plainly(response.headers()) {
        client.worker.proxy.metrics.failed(UpstreamError::Protocol);
        return Err(Refusal::UpstreamFraming);
    }
    forward::response(response.headers_mut());
    *response.version_mut() = Version::HTTP_11;
    if let Some(sticky) = &plan.sticky {
        sticky.mark(client, &plan.route, &sent.endpoint, response.headers_mut());
    }
    client.cell.answers(sent.endpoint.live.id);
    let upstream = sent.upstream.filter(|_| refused.is_none());
    Ok(response.map(|incoming| body::Source::upstream(incoming, upstream, sent.in_flight, refused)))
}

fn plan(client: &Client, request: &Request<Incoming>, record: &mut Record) -> Result<Plan, Refusal> {
    let route = find(client, request.uri(), request.headers().get(HOST))?;
    record.service = Some(route.service.clone());
    let table = client.worker.proxy.table();
    let sticky = Sticky::of(&route.service, request.headers(), &table.settings.keys, &client.peer);
    Ok(Plan { route, limits: table.settings.limits, sticky })
}

fn find(client: &Client, uri: &Uri, host: Option<&HeaderValue>) -> Result<Route, Refusal> {
    let table = client.worker.proxy.table();
    let path = path::readings(uri.path())?;
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    match table.find(host, &path)? {
        Some(route) => Ok(route.clone()),
        None if table.synced => Err(Refusal::NoRoute),
        None => Err(Refusal::NotSynced),
    }
}

/// Makes the head that of a request to an instance.
fn prepare(parts: &mut Parts, peer: &Peer, upgrade: bool) {
    if parts.uri.scheme().is_some() {
        let path = parts.uri.path_and_query().cloned();
        parts.uri = path.map_or(Uri::from_static("/"), Uri::from);
    }
    parts.version = Version::HTTP_11;
    forward::request(&mut parts.headers, peer);
    if upgrade {
        parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(UPGRADE, upgrade::WEBSOCKET);
    }
}

/// The request with its body, and the client's expectation if it has one.
fn with_body(parts: Parts, body: Incoming, cell: &Arc<Cell>, expects: bool) -> (Request<RequestBody>, Option<Expectation>) {
    if body.is_end_stream() {
        return (Request::from_parts(parts, RequestBody::Empty), None);
    }
    let body = ClientBody::new(body, cell.clone());
    if expects {
        let (request, expectation) = expect::expecting(parts, body);
        return (request.map(|body| RequestBody::Expected(Box::new(body))), Some(expectation));
    }
    (Request::from_parts(parts, RequestBody::Client(body)), None)
}

/// A response and what it came by.
struct Sent {
    response: Response<Incoming>,
    endpoint: Arc<Endpoint>,
    in_flight: InFlight,
    upstream: Option<Upstream>,
}

/// The way that a request takes through one or several endpoints.
struct Way<'a> {
    client: &'a Client,
    plan: &'a Plan,
    tried: Vec<u64>,
    /// The request once more, if it may be sent again.
    again: Option<(Method, Uri, http::HeaderMap)>,
}

async fn send(client: &Client, plan: &Plan, mut request: Request<RequestBody>) -> Result<Sent, Refusal> {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) && matches!(request.body(), RequestBody::Empty);
    let again = (safe && plan.route.service.resend).then(|| (request.method().clone(), request.uri().clone(), request.headers().clone()));
    let mut way = Way { client, plan, tried: Vec::new(), again };
    loop {
        let (endpoint, in_flight) = way.endpoint(&request)?;
        let Some(mut upstream) = way.connection(&endpoint).await? else { continue };
        say_host(&mut request, &endpoint);
        match way.put(&mut upstream, request).await {
            Ok(response) => return Ok(Sent { response, endpoint, in_flight, upstream: Some(upstream) }),
            Err(failure) => match way.after(failure, &endpoint, upstream.reused)? {
                Next::Elsewhere(unsent) => request = unsent,
                // Boxed: it is rare, and would make the future of every request larger by itself.
                Next::Once(request) => return Box::pin(way.once_more(request, endpoint, in_flight)).await,
            },
        }
        client.worker.proxy.metrics.retries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

/// HTTP/1.0 without a host: to the instance it is HTTP/1.1, which needs one.
fn say_host(request: &mut Request<RequestBody>, endpoint: &Endpoint) {
    if !request.headers().contains_key(HOST) {
        let host = HeaderValue::from_str(&endpoint.address.to_string()).unwrap_or(HeaderValue::from_static("localhost"));
        request.headers_mut().insert(HOST, host);
    }
}

/// What may be done with a request that got no answer.
enum Next {
    /// No instance has it.
    Elsewhere(Request<RequestBody>),
    /// The same instance may get it once more.
    Once(Request<RequestBody>),
}

/// How putting a request in failed.
struct Failure {
    error: Option<hyper::Error>,
    /// The request itself, if no byte of it was sent.
    unsent: Option<Request<RequestBody>>,
}

impl Way<'_> {
    /// An endpoint, with the request counted there already.
    fn endpoint(&self, request: &Request<RequestBody>) -> Result<(Arc<Endpoint>, InFlight), Refusal> {
        if self.tried.is_empty()
            && let Some(found) = self.from(&self.plan.route.service)
        {
            return Ok(found);
        }
        // The plan's table may be of yesterday by now.
        let route = find(self.client, request.uri(), request.headers().get(HOST))?;
        let none = if self.tried.is_empty() { Refusal::NoReadyEndpoint } else { Refusal::ConnectFailed };
        self.from(&route.service).ok_or(none)
    }

    fn from(&self, service: &Service) -> Option<(Arc<Endpoint>, InFlight)> {
        if let Some(endpoint) = self.plan.sticky.as_ref().and_then(|sticky| sticky.endpoint(service))
            && !self.tried.contains(&endpoint.live.id)
            && let Some(in_flight) = endpoint.live.begin()
        {
            return Some((endpoint.clone(), in_flight));
        }
        // Ends: one that closes between the two steps is closed for the next round.
        loop {
            let choice = Choice { now: self.client.worker.now(), random: self.client.worker.random(), tried: &self.tried };
            let endpoint = pick(service, &choice)?;
            if let Some(in_flight) = endpoint.live.begin() {
                return Some((endpoint.clone(), in_flight));
            }
        }
    }

    /// A connection; none if the endpoint takes none and another is to be tried.
    async fn connection(&mut self, endpoint: &Endpoint) -> Result<Option<Upstream>, Refusal> {
        let worker = &self.client.worker;
        if let Some(upstream) = worker.pool.take(endpoint) {
            return Ok(Some(upstream));
        }
        // Boxed: it is rare, and would make the future of every request larger by itself.
        match Box::pin(self.connect(endpoint)).await? {
            Ok(upstream) => {
                endpoint.live.connected();
                Ok(Some(upstream))
            }
            Err(error) => {
                tracing::debug!(%error, address = %endpoint.address, instance = endpoint.instance.name, "no connection to an instance");
                let timeout = error.kind() == io::ErrorKind::TimedOut;
                worker.proxy.metrics.failed(if timeout { UpstreamError::ConnectTimeout } else { UpstreamError::Connect });
                worker.pool.forget(endpoint);
                endpoint.live.connect_failed(worker.proxy.now());
                self.tried.push(endpoint.live.id);
                worker.proxy.metrics.retries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if self.tried.len() >= MOST_TRIED { Err(Refusal::ConnectFailed) } else { Ok(None) }
            }
        }
    }

    /// A new connection. What this process lacks for it says nothing of the instance: it is tried once more with what idle connections give back.
    async fn connect(&self, endpoint: &Endpoint) -> Result<io::Result<Upstream>, Refusal> {
        let limit = self.plan.limits.connect;
        let first = pool::connect(endpoint, limit).await;
        let Some(error) = first.as_ref().err().filter(|error| is_exhausted(error)) else { return Ok(first) };
        self.client.worker.lacks_descriptors(error);
        // Connections that are dropped close when their tasks have seen it.
        tokio::task::yield_now().await;
        match pool::connect(endpoint, limit).await {
            Err(error) if is_exhausted(&error) => Err(Refusal::Exhausted),
            other => Ok(other),
        }
    }

    /// The response's head. A failure without an error is a response that is late.
    async fn put(&self, upstream: &mut Upstream, request: Request<RequestBody>) -> Result<Response<Incoming>, Failure> {
        let mut response = pin!(upstream.sender.try_send_request(request));
        std::future::poll_fn(|cx| {
            if self.client.cell.is_late() {
                return Poll::Ready(Err(Failure { error: None, unsent: None }));
            }
            response.as_mut().poll(cx).map_err(|mut failure| {
                let unsent = failure.take_message();
                Failure { error: Some(failure.into_error()), unsent }
            })
        })
        .await
    }

    /// What may be done after a failure, or why nothing may.
    fn after(&mut self, failure: Failure, endpoint: &Endpoint, reused: bool) -> Result<Next, Refusal> {
        if let Some(request) = failure.unsent {
            // What else is kept of it has most likely ended as well: the next one is asked on a new connection.
            self.client.worker.pool.forget(endpoint);
            if !reused {
                self.tried.push(endpoint.live.id);
            }
            return if self.tried.len() >= MOST_TRIED { Err(Refusal::UpstreamClosed) } else { Ok(Next::Elsewhere(request)) };
        }
        let refusal = self.failed(failure.error, endpoint);
        let again = self.again.take().filter(|_| reused && refusal == Refusal::UpstreamClosed);
        let (method, uri, headers) = again.ok_or(refusal)?;
        self.client.worker.pool.forget(endpoint);
        let mut request = Request::new(RequestBody::Empty);
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
        Ok(Next::Once(request))
    }

    /// Counts a failure of an instance that had the request.
    fn failed(&self, error: Option<hyper::Error>, endpoint: &Endpoint) -> Refusal {
        let metrics = &self.client.worker.proxy.metrics;
        // What the instance was sent ended before its end, so it can have done nothing better than this.
        if self.client.cell.is_body_broken() {
            return Refusal::RequestBody;
        }
        let Some(error) = error else {
            metrics.failed(UpstreamError::Timeout);
            return Refusal::UpstreamTimeout;
        };
        tracing::debug!(%error, address = %endpoint.address, instance = endpoint.instance.name, "an instance failed a request");
        if error.is_parse_too_large() {
            metrics.failed(UpstreamError::Protocol);
            return Refusal::UpstreamHead;
        }
        if error.is_parse() {
            metrics.failed(UpstreamError::Protocol);
            return Refusal::UpstreamProtocol;
        }
        metrics.failed(UpstreamError::Closed);
        Refusal::UpstreamClosed
    }

    /// The same request to the same instance, on a new connection: one that takes none has ended.
    async fn once_more(&self, mut request: Request<RequestBody>, endpoint: Arc<Endpoint>, in_flight: InFlight) -> Result<Sent, Refusal> {
        let worker = &self.client.worker;
        let connected = self.connect(&endpoint).await?;
        let mut upstream = connected.map_err(|error| {
            tracing::debug!(%error, address = %endpoint.address, instance = endpoint.instance.name, "an instance ended with a request");
            endpoint.live.connect_failed(worker.proxy.now());
            Refusal::UpstreamEnded
        })?;
        worker.proxy.metrics.retries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        say_host(&mut request, &endpoint);
        match self.put(&mut upstream, request).await {
            Ok(response) => Ok(Sent { response, endpoint, in_flight, upstream: Some(upstream) }),
            Err(failure) => Err(self.failed(failure.error, &endpoint)),
        }
    }
}

/// Answers 101 and lets both ends speak to each other.
fn tunnel(
    client: &Rc<Client>,
    plan: &Plan,
    key: &upgrade::Key,
    on_client: hyper::upgrade::OnUpgrade,
    mut response: Response<Incoming>,
    in_flight: InFlight,
) -> Result<Response<body::Source>, Refusal> {
    if !upgrade::is_accepted(response.headers(), key) {
        client.worker.proxy.metrics.failed(UpstreamError::Protocol);
        return Err(Refusal::UpstreamProtocol);
    }
    let on_instance = hyper::upgrade::on(&mut response);
    let tunnel = upgrade::Tunnel {
        in_flight,
        slot: client.slot.clone(),
        idle: plan.limits.upgrade_idle,
        send: plan.limits.send,
        stop: client.worker.stop.clone(),
    };
    client.worker.tasks.spawn_local(tunnel.run(on_client, on_instance));
    forward::response(response.headers_mut());
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(UPGRADE, upgrade::WEBSOCKET);
    Ok(response.map(|_| body::Source::own(bytes::Bytes::new())))
}

impl Record {
    fn new(client: Rc<Client>) -> Self {
        // 499: the client left before there was an answer.
        let status = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
        Self { client, service: None, start: Instant::now(), status }
    }
}
