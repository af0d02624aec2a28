//! HTTP and WebSocket to ready endpoints; acknowledged drain.
