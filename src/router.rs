//! HTTP and WebSocket to ready endpoints; acknowledged drain.
pub mod affinity;
pub mod answer;
pub mod balance;
pub mod conn;
pub mod endpoint;
pub mod exchange;
pub mod forward;
pub mod gate;
pub mod listener;
pub mod metrics;
pub mod pool;
pub mod proxy;
pub mod settings;
pub mod table;
pub mod upgrade;
pub mod worker;
