//! What pods may do: by default all that the Pod Security Standard "restricted" asks for.
use k8s_openapi::api::core::v1::{Capabilities, PodSecurityContext, SeccompProfile, SecurityContext};

use mesh_api::{container, instance::InstanceTemplate};

/// Of all containers in the pod.
pub(super) fn of_pod(template: &InstanceTemplate) -> PodSecurityContext {
    let own = template.security_context.clone().unwrap_or_default();
    // Files of claims, ConfigMaps and Secrets are root's otherwise, and a user other than root could not write, or not even read them.
    let files = template.volumes.iter().any(|v| v.persistent_volume_claim.is_some() || v.config_map.is_some() || v.secret.is_some());
    let group = own.run_as_group.or(own.run_as_user).filter(|group| *group > 0 && files);
    PodSecurityContext {
        run_as_non_root: Some(own.run_as_user != Some(0)),
        fs_group: group,
        fs_group_change_policy: group.map(|_| "OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..PodSecurityContext::default()
    }
}

/// Of the service's own container.
pub(super) fn of_container(template: &InstanceTemplate) -> SecurityContext {
    let container::SecurityContext { run_as_user, run_as_group, read_only_root_filesystem, allow_privilege_escalation, capabilities } =
        template.security_context.clone().unwrap_or_default();
    let capabilities = capabilities.unwrap_or_default();
    SecurityContext {
        run_as_user,
        run_as_group,
        read_only_root_filesystem: Some(read_only_root_filesystem.unwrap_or(true)),
        allow_privilege_escalation: Some(allow_privilege_escalation.unwrap_or(false)),
        capabilities: Some(Capabilities {
            add: super::some(capabilities.add),
            drop: super::some(capabilities.drop.unwrap_or_else(|| vec!["ALL".to_owned()])),
        }),
        ..SecurityContext::default()
    }
}

/// Of the container that brings the drain program: the user of our image, and nothing else.
pub(super) fn of_drain() -> SecurityContext {
    SecurityContext {
        run_as_user: Some(65532),
        run_as_group: Some(65532),
        run_as_non_root: Some(true),
        read_only_root_filesystem: Some(true),
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".to_owned()]) }),
        ..SecurityContext::default()
    }
}
