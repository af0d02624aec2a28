//! What only a container has: how its image is pulled, what it may use, what it may do, and its volumes. Names, units and rules of Kubernetes core.
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ImagePullPolicy {
    /// Before each start, so that a moved tag is followed.
    Always,
    /// If it is not on the machine.
    IfNotPresent,
    /// Never: it must be on the machine.
    Never,
}

/// A named object in the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LocalObjectReference {
    /// The object's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// What a container is guaranteed and what it may use at most.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ResourceRequirements {
    /// What it may use at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ResourceList>,
    /// Its share when the machine is short of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<ResourceList>,
}

/// Amounts of resources.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ResourceList {
    /// CPUs: `1`, `0.5` or `500m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "cpu")]
    pub cpu: Option<IntOrString>,
    /// Bytes, or with a unit: `512Mi`, `1Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "memory")]
    pub memory: Option<IntOrString>,
}

fn cpu(_: &mut SchemaGenerator) -> Schema {
    quantity("^([0-9]{1,5}|[0-9]{0,5}[.][0-9]{1,3}|[0-9]{1,8}m)$")
}

fn memory(_: &mut SchemaGenerator) -> Schema {
    quantity("^[0-9]{1,15}(k|M|G|T|Ki|Mi|Gi|Ti)?$")
}

/// No rule with a message: a cluster's API server takes a text that may also be a number for one of three megabytes, and refuses rules over it for their cost.
fn quantity(pattern: &str) -> Schema {
    json_schema!({ "x-kubernetes-int-or-string": true, "nullable": true, "minimum": 0, "pattern": pattern })
}

/// What a container may do. What is left out is the safer choice: no capabilities, no new privileges, a root that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecurityContext {
    /// The user id that it runs as; the image's user if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_294_i64))]
    pub run_as_user: Option<i64>,
    /// The group id that it runs as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_294_i64))]
    pub run_as_group: Option<i64>,
    /// Its root cannot be written, but for /tmp, /run and /var/tmp, which are in memory. True unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only_root_filesystem: Option<bool>,
    /// It may gain privileges that it did not start with (a setuid program). False unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_privilege_escalation: Option<bool>,
    /// Capabilities of Linux; all are dropped unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
}

/// Capabilities of Linux, without the prefix `CAP_`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Capabilities {
    /// Those that it has, for example `NET_BIND_SERVICE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(regex(pattern = r"^[A-Z][A-Z_]{0,62}$")))]
    pub add: Vec<String>,
    /// Those that are taken from what the engine gives by default; `[ALL]` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(regex(pattern = r"^[A-Z][A-Z_]{0,62}$")))]
    pub drop: Option<Vec<String>>,
}

/// Something that can be mounted: a name, and exactly one source.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.configMap), has(self.secret), has(self.emptyDir), has(self.hostPath), has(self.persistentVolumeClaim)].filter(x, x).size() == 1").message("give exactly one of configMap, secret, emptyDir, hostPath and persistentVolumeClaim"))]
pub struct Volume {
    /// What `volumeMounts` calls it.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Files from a `ConfigMap`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapVolume>,
    /// Files from a `Secret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretVolume>,
    /// An empty directory that lives as long as the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<EmptyDir>,
    /// A file or directory of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_path: Option<HostPath>,
    /// A volume that outlives instances and services; on a VM a named volume of the engine, made at the first use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<PersistentVolumeClaim>,
}

/// Files from a `ConfigMap`: one per key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapVolume {
    /// The `ConfigMap`'s name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Only these keys, under these paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<KeyToPath>,
    /// A missing object or key leaves its files out, where it would stop the start otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// The files' permissions, in decimal or (in YAML) octal: 420 is 0644, the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 511))]
    pub default_mode: Option<i32>,
}

/// Files from a `Secret`: one per key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretVolume {
    /// The `Secret`'s name.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,
    /// Only these keys, under these paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<KeyToPath>,
    /// A missing object or key leaves its files out, where it would stop the start otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// The files' permissions, in decimal or (in YAML) octal: 420 is 0644, the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 511))]
    pub default_mode: Option<i32>,
}

/// Which key becomes which file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct KeyToPath {
    /// The key.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
    /// The file's name below the mount path.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-_a-zA-Z0-9][-._a-zA-Z0-9]*$"))]
    pub path: String,
}

/// An empty directory that lives as long as the instance.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.sizeLimit) || (has(self.medium) && self.medium == 'Memory')").message("sizeLimit is kept only where medium is Memory: set that, or leave sizeLimit out"))]
pub struct EmptyDir {
    /// Where it lies: `Memory`, or on disk if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub medium: Option<Medium>,
    /// The most it may hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "memory")]
    pub size_limit: Option<IntOrString>,
}

/// Where an empty directory lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Medium {
    /// In memory (tmpfs).
    Memory,
}

/// A file or directory of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct HostPath {
    /// Where it is.
    #[schemars(length(min = 1, max = 4096), regex(pattern = r"^/[^\x00-\x1f\x7f:]*$"))]
    pub path: String,
    /// What must be there; anything if left out.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<HostPathType>,
}

/// What must be at a host path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HostPathType {
    /// A directory; made if it is missing.
    DirectoryOrCreate,
    /// A directory.
    Directory,
    /// A file.
    File,
}

/// A volume that outlives instances and services.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PersistentVolumeClaim {
    /// Its name in the namespace.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub claim_name: String,
    /// It cannot be written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

/// Where a volume is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount {
    /// The volume's name in `volumes`.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The path in the container.
    #[schemars(length(min = 2, max = 4096), regex(pattern = r"^/[^\x00-\x1f\x7f:]+$"))]
    pub mount_path: String,
    /// It cannot be written there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

/// What only Podman (or Docker, or Quadlet) is told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodmanOptions {
    /// The network whose members find each other by name; by default that of the namespace and of `app.kubernetes.io/part-of`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-zA-Z0-9][-_.a-zA-Z0-9]*$"))]
    pub network: Option<String>,
    /// Put before the instance's name to make the container's; `mesh-<namespace>` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9][-a-z0-9]*$"))]
    pub container_prefix: Option<String>,
}
