//! The agent's door: one HTTP API by which programs in any language talk to the mesh: locks, leaders. It speaks HTTP and decides nothing;
//! what is decided stands in `mesh-coordination`.
//!
//! A program finds the door in `MESH_AGENT` and its token in `MESH_TOKEN_FILE`. What it may name is scoped to its namespace.
//! On a machine the node's agent opens it to its instances, by tokens of its own; in a cluster an agent does to pods, by those that the API issues to them.
mod answer;
mod ask;
mod caller;
mod held;
mod limits;
mod listen;
mod problem;
mod routes;
mod stream;

pub use self::{
    caller::Gate,
    limits::Limits,
    listen::{Error, MAX_PATH, listen, run},
    routes::Door,
};
