//! A real systemd, Podman and Quadlet: tests in the machine that tests/vm/vm.sh boots. They share one machine per test process.
mod doctor;
mod install;
mod machine;
mod quadlet;
mod quadlet_backend;
mod sample;
mod sockets;
