//! The process backend with real shims and real programs.
mod adoption;
mod bench;
mod containment;
mod cycles;
mod exec;
mod fixture;
mod logs;
mod start_stop;
