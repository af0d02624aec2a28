//! Tests of the units as a whole.
