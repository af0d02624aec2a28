//! Reads what an instance wrote: the files in its directory, in the format of [`mesh_shim::log`].
mod cursor;
mod gather;
pub(crate) mod reader;
mod tail;
