//! The status of a service in a cluster, from its Deployment, pods and endpoints. Pure.
