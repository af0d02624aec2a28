//! Who leads among several controllers of one API: election by Lease, and the guard that lets only the leader write.
//! Owns no object but its Lease; knows nothing of what is written. Called by the wiring.
