//! The server itself: what starts it, and what it can be asked for.
use std::{convert::Infallible, sync::Arc};

use crate::{definitions, events, gc, namespaces, options::Options, request::User, service::ApiService, state::State};
use mesh_kit::shutdown::Shutdown;
use mesh_store::{Store, WriteError};

/// The server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiServer(pub(crate) Arc<State>);

impl ApiServer {
    /// Makes the permanent objects (namespaces and what they hold), and starts the tasks that keep namespaces, definitions and owned objects in order.
    ///
    /// # Errors
    /// The store refuses writes.
    pub async fn start(store: Store, options: Options, shutdown: &Shutdown) -> Result<Self, WriteError> {
        let state = Arc::new(State::new(store, options));
        namespaces::make_permanent_objects(&state).await?;
        let (end, closing) = (shutdown.triggered(), state.closing.clone());
        shutdown.spawn_work(async move {
            end.await;
            closing.cancel();
        });
        let (store, end) = (state.store.clone(), shutdown.triggered());
        shutdown.spawn("store", async move {
            tokio::select! {
                why = store.lost() => Err(why),
                () = end => Ok(()),
            }
        });
        spawn(shutdown, "garbage-collector", gc::collect(Arc::clone(&state)));
        spawn(shutdown, "namespaces", namespaces::keep(Arc::clone(&state)));
        spawn(shutdown, "event-expiry", events::expire(Arc::clone(&state)));
        spawn(shutdown, "definitions", definitions::clean_up(Arc::clone(&state)));
        Ok(Self(state))
    }

    /// The server as a service, without a socket: for `kube::Client::new(server.service(), "default")`. Its user is the process itself.
    pub fn service(&self) -> ApiService {
        ApiService::new(Arc::clone(&self.0), User::internal())
    }

    /// The store behind it.
    pub fn store(&self) -> &Store {
        &self.0.store
    }
}

/// A task that ends with the server.
fn spawn(shutdown: &Shutdown, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    let end = shutdown.triggered();
    shutdown.spawn(name, async move {
        tokio::select! {
            () = task => {}
            () = end => {}
        }
        Ok::<(), Infallible>(())
    });
}
