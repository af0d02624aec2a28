//! An optional Redis on the networks of the services, as the original @panomapp/mesh had it: reached as `redis:6379`, its data in a volume.
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::plan::Member;
use mesh_api::{container::ImagePullPolicy, labels, names};
use mesh_backend::quadlet::names as unit_names;
use mesh_plan::container::{Container, Mount, Resources, Security, Source};

/// The image, unless another is named.
pub(super) const IMAGE: &str = "docker.io/library/redis:7";

/// One per network; the others are started after it.
pub(super) fn add(members: &mut Vec<Member>, image: &str) {
    let networks: BTreeSet<(String, String)> =
        members.iter().map(|member| (member.container.network.clone(), member.namespace.clone())).collect();
    for (network, namespace) in networks {
        let redis = redis(&namespace, &network, image);
        let unit = unit_names::service(&redis.instance().stem(), 0);
        members.iter_mut().filter(|member| member.container.network == network).for_each(|member| member.after.push(unit.clone()));
        members.insert(0, redis);
    }
}

fn redis(namespace: &str, network: &str, image: &str) -> Member {
    let service = format!("{network}-redis");
    let revision = names::revision(image.as_bytes());
    let instance = names::instance(&service, &revision, 0);
    let own = [
        (labels::APP_NAME, "redis"),
        (labels::APP_MANAGED_BY, labels::MANAGER),
        (labels::INSTANCE, instance.as_str()),
        (labels::SERVICE, service.as_str()),
        (labels::NAMESPACE, namespace),
    ];
    let container = Container {
        name: service.clone(),
        image: image.to_owned(),
        pull: ImagePullPolicy::IfNotPresent,
        command: vec![],
        args: vec![],
        working_dir: None,
        env: vec![],
        port: None,
        network: network.to_owned(),
        aliases: vec!["redis".to_owned()],
        mounts: vec![Mount {
            name: "data".to_owned(),
            target: "/data".to_owned(),
            read_only: false,
            source: Source::Volume { volume: service.clone(), owned: false },
        }],
        resources: Resources::default(),
        // The image's own user: as root it would need capabilities to become that.
        security: Security {
            user: Some(999),
            group: Some(1000),
            read_only_root: true,
            no_new_privileges: true,
            drop: vec!["ALL".to_owned()],
            add: vec![],
        },
        stop_grace: Duration::from_secs(30),
        labels: own.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect::<BTreeMap<_, _>>(),
    };
    Member {
        namespace: namespace.to_owned(),
        service,
        revision,
        name: instance,
        ordinal: 0,
        container,
        health: None,
        after: vec![],
        job: None,
    }
}
