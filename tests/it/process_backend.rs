//! The process backend with real shims and real programs.
mod fixture;
mod start_stop;
