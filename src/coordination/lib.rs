//! Who leads among several controllers of one API: election by Lease, and the guard that lets only the leader write. And what programs ask the mesh for:
//! [`locks`] and leaders with fences, bound to the [`session`] of a run (a node's agent issues [`token`]s to its instances; in a cluster the API issues them, [`review`] asks whose they are,
//! and [`pods`] sees who runs), and when a task runs ([`schedule`]). Decisions are values; a runner carries them out.
//! Owns Leases, and what locks leave in a Redis; knows nothing of what is written under them. Called by the wiring and by the agent's door.
//!
//! Every replica watches and computes; [`gate`] lets only the leader's writes through. Leadership is a promise with an end, by this machine's own boot-time clock:
//! a process that was stopped finds the promise over when it wakes, before any of its tasks has run. What was sent to the API before that cannot be
//! called back; such a write is of the state that was seen then, and the next leader's reconcile comes after it (level-based, as everything here).
pub mod election;
pub mod gate;
mod leadership;
pub mod locks;
pub mod pods;
pub mod review;
pub mod schedule;
pub mod session;
pub mod token;

pub use self::{gate::is_not_leader, leadership::Leadership};
