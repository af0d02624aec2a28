//! The whole of an import.
