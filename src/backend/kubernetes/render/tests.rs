//! What is rendered, looked at as values.
