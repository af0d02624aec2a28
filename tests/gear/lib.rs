//! What the test binaries share: the programs under test, clients, instances and a fake API of the test's own, and what the machine must have.
pub mod client;
pub mod controller;
pub mod disk;
pub mod fake_api;
pub mod golden;
pub mod instance;
pub mod load;
pub mod machine;
pub mod objects;
pub mod port;
pub mod program;
pub mod session;
