//! An embedded API in memory, a fake backend, and all controllers over them.
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use mesh_api::{
    MeshInstance, MeshNode, MeshService, MeshTask,
    conditions::is_true,
    node::{BackendKind, PortRange},
};
use mesh_apiserver::{ApiServer, Options};
use mesh_backend::{Backend, fake::FakeBackend};
use mesh_controllers::{
    Reconciles,
    mesh_instance::{self, ledger::Ledger},
    node::{Node, Reports},
};
use mesh_kit::shutdown::{Shutdown, Supervisor};
use mesh_plan::instance::InstanceKey;
use mesh_store::Store;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) backend: FakeBackend,
    endpoints: JoinSet<()>,
    supervisor: Supervisor,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::over(FakeBackend::new(), true).await
    }

    /// A new store over what runs already; `known` says that what runs was started under this very store.
    pub(crate) async fn over(backend: FakeBackend, known: bool) -> Self {
        let (shutdown, supervisor) = Shutdown::new();
        let server = ApiServer::start(Store::memory().unwrap(), Options::default(), &shutdown).await.unwrap();
        let client = Client::new(server.service(), "default");
        mesh_controllers::bootstrap::bootstrap(&client).await.unwrap();
        let node = Node { name: "here".into(), backend: BackendKind::Process, ports: PortRange::default(), coordination: None };
        mesh_controllers::node::register(&client, &node).await.unwrap();
        let ledger = Arc::new(Ledger::in_memory(known));
        let reports = Reports { health: Some(backend.health()), left: ledger.left() };
        let options = mesh_instance::Options {
            node: "here".into(),
            backend: BackendKind::Process,
            project_dir: PathBuf::from("/"),
            ports: PortRange::default(),
            ledger,
            door: None,
            unknown_probes: mesh_instance::UnknownProbes::default(),
        };
        shutdown.spawn("services", mesh_controllers::mesh_service::run(client.clone(), Reconciles::default(), shutdown.triggered()));
        shutdown.spawn(
            "instances",
            mesh_instance::run(client.clone(), Backend::Fake(backend.clone()), options, Reconciles::default(), shutdown.triggered()),
        );
        let tasks = mesh_controllers::mesh_task::metrics::TaskMetrics::default();
        shutdown.spawn("tasks", mesh_controllers::mesh_task::run(client.clone(), Reconciles::default(), tasks, shutdown.triggered()));
        shutdown.spawn("system", mesh_controllers::system::run(client.clone(), shutdown.triggered()));
        shutdown.spawn("node", mesh_controllers::node::run(client.clone(), node, reports, shutdown.triggered()));
        let mut world = Self { client, backend, endpoints: JoinSet::new(), supervisor };
        world.start_endpoints();
        world
    }

    /// Ends everything but what runs.
    pub(crate) async fn end(self) -> FakeBackend {
        self.supervisor.finish(Duration::from_secs(10)).await;
        self.backend
    }

    /// From now on slices are written.
    pub(crate) fn start_endpoints(&mut self) {
        let run = mesh_controllers::endpoints::run(self.client.clone(), Reconciles::default(), Shutdown::new().0.triggered());
        self.endpoints.spawn(async { run.await.unwrap() });
    }

    /// From now on no slice is written.
    pub(crate) async fn stop_endpoints(&mut self) {
        self.endpoints.shutdown().await;
    }

    /// Lets the node take new instances, or not.
    pub(crate) async fn schedulable(&self, may: bool) {
        let nodes: Api<MeshNode> = Api::all(self.client.clone());
        let patch = json!({ "spec": { "unschedulable": !may } });
        nodes.patch("here", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    /// Reason and message of a service's Ready, if that is false.
    pub(crate) async fn not_ready(&self, name: &str) -> Option<(String, String)> {
        let conditions = self.service(name).await?.status?.conditions;
        conditions.into_iter().find(|c| c.type_ == "Ready" && c.status == "False").map(|c| (c.reason, c.message))
    }

    fn services(&self) -> Api<MeshService> {
        Api::default_namespaced(self.client.clone())
    }

    pub(crate) async fn apply(&self, name: &str, spec: Value) {
        let object =
            json!({ "apiVersion": "mesh-controller.dev/v1alpha1", "kind": "MeshService", "metadata": { "name": name }, "spec": spec });
        self.services().patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&object)).await.unwrap();
    }

    fn tasks(&self) -> Api<MeshTask> {
        Api::default_namespaced(self.client.clone())
    }

    pub(crate) async fn apply_task(&self, name: &str, spec: Value) {
        let object =
            json!({ "apiVersion": "mesh-controller.dev/v1alpha1", "kind": "MeshTask", "metadata": { "name": name }, "spec": spec });
        self.tasks().patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&object)).await.unwrap();
    }

    pub(crate) async fn task(&self, name: &str) -> MeshTask {
        self.tasks().get(name).await.unwrap()
    }

    pub(crate) async fn delete_task(&self, name: &str) {
        self.tasks().delete(name, &DeleteParams::background()).await.unwrap();
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.services().delete(name, &DeleteParams::background()).await.unwrap();
    }

    pub(crate) async fn service(&self, name: &str) -> Option<MeshService> {
        self.services().get_opt(name).await.unwrap()
    }

    pub(crate) async fn instances(&self) -> Vec<MeshInstance> {
        Api::<MeshInstance>::default_namespaced(self.client.clone()).list(&ListParams::default()).await.unwrap().items
    }

    pub(crate) fn is_ready(instance: &MeshInstance) -> bool {
        instance.status.as_ref().is_some_and(|status| is_true(&status.conditions, "Ready"))
    }

    pub(crate) fn key(instance: &MeshInstance) -> InstanceKey {
        InstanceKey { namespace: instance.namespace().unwrap(), name: instance.name_any(), uid: instance.uid().unwrap() }
    }

    /// The service, once it is ready in the generation that it has.
    pub(crate) async fn ready(&self, name: &str) -> MeshService {
        self.until(&format!("{name} to be ready"), async || {
            let service = self.service(name).await?;
            let status = service.status.as_ref()?;
            (status.observed_generation == service.metadata.generation && is_true(&status.conditions, "Ready")).then_some(service)
        })
        .await
    }

    /// Asks until there is an answer; tells what is there if there is none in time.
    pub(crate) async fn until<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(found) = look().await {
                return found;
            }
            if Instant::now() > deadline {
                let services: BTreeMap<_, _> = self
                    .services()
                    .list(&ListParams::default())
                    .await
                    .unwrap()
                    .items
                    .into_iter()
                    .map(|s| (s.name_any(), s.status))
                    .collect();
                let instances: BTreeMap<_, _> = self.instances().await.into_iter().map(|i| (i.name_any(), i.status)).collect();
                panic!("waited in vain for {what}; services: {services:#?} instances: {instances:#?}");
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
}
