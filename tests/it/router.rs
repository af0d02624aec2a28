//! The router on real sockets: tables made by hand, instances of the test's own; and the API's part through a fake API server.
mod api;
mod drain;
mod fixture;
mod gate;
mod instance;
mod proxy;
mod sessions;
mod websocket;
