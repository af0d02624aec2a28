//! What a process in a Pod has of its cluster: access to the API, by its service account.
use kube::Config;

/// Set in every Pod.
pub(super) const VARIABLE: &str = "KUBERNETES_SERVICE_HOST";

/// Whether this process runs in a Pod.
pub(super) fn is_here() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// The Pod's own access.
///
/// # Errors
/// What is missing, and the remedy.
pub(super) fn config() -> Result<Config, String> {
    Config::incluster().map_err(|error| {
        format!(
            "this Pod has no access to its cluster: {error}; give it a service account with automountServiceAccountToken: true, or name a kubeconfig with --kubeconfig"
        )
    })
}
