//! What an import depends on besides its input.
use std::collections::BTreeMap;

use mesh_api::node::BackendKind;

/// What an import depends on besides its input.
#[derive(Debug, Clone, Default)]
pub struct Setting {
    /// What is to run the services; told by the input if none.
    pub backend: Option<BackendKind>,
    /// What compose files refer to.
    pub environment: BTreeMap<String, String>,
    /// The processors of this machine: pm2 has as many instances where it is told `max`.
    pub cores: usize,
    /// Which `env_NAME` of an ecosystem file is laid over `env`.
    pub pm2_env: Option<String>,
}

impl Setting {
    /// Whether what is made of images stays so.
    pub(super) fn runs_containers(&self) -> bool {
        self.backend != Some(BackendKind::Process)
    }
}
