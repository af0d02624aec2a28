//! The objects of `mesh-controller.dev/v1alpha1`, conditions and reasons, names; no IO.
