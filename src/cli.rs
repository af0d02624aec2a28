//! A file per verb, and the wiring of the whole.
