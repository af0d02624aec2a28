//! Election and the gate over a real API: the embedded one. Two controllers, one writes; the lease given back, its holder killed, and a stale write refused.
use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{
    api::{coordination::v1::Lease, core::v1::ConfigMap},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    client::ClientBuilder,
};
use mesh_apiserver::{ApiServer, Options};
use mesh_controllers::bootstrap::bootstrap;
use mesh_coordination::{
    Leadership,
    election::{self, Election, Timing},
    gate::Gate,
    is_not_leader,
};
use mesh_kit::{
    clock::BootClock,
    shutdown::{Shutdown, Supervisor},
};
use mesh_store::Store;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

/// Quick, and in the same proportions: the record holds whole seconds.
const TIMING: Timing =
    Timing { lease: Duration::from_secs(2), renew_deadline: Duration::from_millis(1_300), retry: Duration::from_millis(200) };

struct World {
    server: ApiServer,
    client: Client,
    _supervisor: Supervisor,
}

struct Replica {
    /// Through the gate.
    client: Client,
    leadership: Leadership,
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

impl World {
    async fn new() -> Self {
        let (shutdown, supervisor) = Shutdown::new();
        let server = ApiServer::start(Store::memory().unwrap(), Options::default(), &shutdown).await.unwrap();
        let client = Client::new(server.service(), "default");
        bootstrap(&client).await.unwrap();
        Self { server, client, _supervisor: supervisor }
    }

    fn replica(&self, name: &str) -> Replica {
        let options = election::Options {
            namespace: "mesh-system".into(),
            name: "mesh-controller".into(),
            identity: name.into(),
            timing: TIMING,
            clock: BootClock::system(),
        };
        let election = Election::new(self.client.clone(), options);
        let leadership = election.leadership();
        let client = ClientBuilder::new(self.server.service(), "default").with_layer(&Gate::new(leadership.clone())).build();
        let (shutdown, supervisor) = Shutdown::new();
        let end = shutdown.triggered();
        #[expect(clippy::disallowed_methods, reason = "its handle is what a test kills it by")]
        let task = tokio::spawn(async move {
            let _held = supervisor;
            election.run(end).await.unwrap();
        });
        Replica { client, leadership, shutdown, task }
    }

    async fn lease(&self) -> Lease {
        Api::namespaced(self.client.clone(), "mesh-system").get("mesh-controller").await.unwrap()
    }
}

impl Replica {
    async fn leads(&self) {
        let mut leading = self.leadership.leading();
        timeout(Duration::from_secs(20), leading.wait_for(|leading| *leading)).await.unwrap().unwrap();
    }

    async fn write(&self, value: &str) -> Result<ConfigMap, kube::Error> {
        let object = ConfigMap {
            metadata: ObjectMeta { name: Some("written".into()), ..ObjectMeta::default() },
            data: Some(BTreeMap::from([("by".to_owned(), value.to_owned())])),
            ..ConfigMap::default()
        };
        Api::<ConfigMap>::default_namespaced(self.client.clone())
            .patch("written", &PatchParams::apply("test").force(), &Patch::Apply(&object))
            .await
    }
}

#[tokio::test]
async fn of_two_controllers_one_writes_and_the_other_takes_over_when_it_gives_the_lease_back_or_dies() {
    let world = World::new().await;
    let mut first = world.replica("first_1");
    first.leads().await;
    let second = world.replica("second_1");
    first.write("first").await.unwrap();
    assert!(is_not_leader(&second.write("second").await.unwrap_err()));
    // Reads are for all.
    let read: Api<ConfigMap> = Api::default_namespaced(second.client.clone());
    assert!(read.list(&ListParams::default()).await.unwrap().items.iter().any(|object| object.name_any() == "written"));
    assert!(is_not_leader(&read.delete("written", &DeleteParams::default()).await.unwrap_err()));

    // Given back: nobody waits for its end.
    let since = Instant::now();
    first.shutdown.trigger();
    (&mut first.task).await.unwrap();
    assert!(is_not_leader(&first.write("late").await.unwrap_err()));
    second.leads().await;
    assert!(since.elapsed() < TIMING.lease, "{:?}", since.elapsed());
    second.write("second").await.unwrap();
    let spec = world.lease().await.spec.unwrap();
    assert_eq!(
        (spec.holder_identity.as_deref(), spec.lease_transitions, spec.lease_duration_seconds),
        (Some("second_1"), Some(1), Some(2))
    );

    // Killed: the lease must end first.
    let third = world.replica("third_1");
    let killed = Instant::now();
    second.task.abort();
    third.leads().await;
    assert!(
        killed.elapsed() > TIMING.renew_deadline && killed.elapsed() < TIMING.lease + TIMING.retry + Duration::from_secs(1),
        "{:?}",
        killed.elapsed()
    );
    assert!(is_not_leader(&second.write("dead").await.unwrap_err()));
    third.write("third").await.unwrap();
    assert_eq!(world.lease().await.spec.unwrap().lease_transitions, Some(2));
    third.shutdown.trigger();
    third.task.await.unwrap();
}

#[tokio::test]
async fn a_write_with_an_old_resource_version_loses() {
    let world = World::new().await;
    let only = world.replica("only_1");
    only.leads().await;
    let old = world.lease().await;
    // It renews meanwhile.
    let deadline = Instant::now() + Duration::from_secs(10);
    while world.lease().await.metadata.resource_version == old.metadata.resource_version {
        assert!(Instant::now() < deadline, "it does not renew");
        sleep(Duration::from_millis(20)).await;
    }
    let leases: Api<Lease> = Api::namespaced(world.client.clone(), "mesh-system");
    let mut stolen = Lease { metadata: ObjectMeta { managed_fields: None, ..old.metadata }, spec: old.spec };
    if let Some(spec) = &mut stolen.spec {
        spec.holder_identity = Some("thief".into());
    }
    let refused = leases.replace("mesh-controller", &PostParams::default(), &stolen).await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 409), "{refused}");
    assert!(only.leadership.may_write());
    only.shutdown.trigger();
    only.task.await.unwrap();
}
