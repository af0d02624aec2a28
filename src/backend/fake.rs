//! A backend in memory, for tests.
