//! The durable object store and its ring of events.
