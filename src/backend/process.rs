//! Plain processes, each under a shim.
