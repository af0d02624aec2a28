//! Quadlet: units of systemd from instances, and back. Pure: text in, text out; no file, no clock, no bus.
//!
//! Owns the unit model ([`unit`], and [`value`] for a line of it), the keys by version ([`keys`]), the one serializer ([`encode`]) and the one parser ([`parse`]), the base
//! templates ([`templates`]), what a container becomes ([`render`], and [`argv`] for engines without Quadlet), and what is wrong with a unit
//! that lies there ([`verify`]). Never: reads or writes a file, speaks to systemd or Podman; that is [`live`], and [`generator`] knows Podman's own.
//! Called by `mesh quadlet …` and `mesh podman …`, and by the backend that runs instances as units.
//!
//! A value of any content becomes that key's value or an error: nothing that a spec says can add a line, a key or an argument.
pub mod argv;
pub mod encode;
pub mod generator;
pub mod header;
pub mod keys;
pub mod live;
pub mod names;
pub mod parse;
pub mod render;
pub mod templates;
pub mod unit;
pub mod value;
pub mod verify;
pub mod version;

#[cfg(test)]
mod tests;
