//! One driver per kind and its steps.
