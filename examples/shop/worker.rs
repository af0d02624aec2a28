//! Works without being asked: packs an order a second, and ends on SIGTERM after the one it is at.
use std::time::Duration;

use tokio::{
    signal::unix::{SignalKind, signal},
    time::interval,
};

pub(crate) async fn work() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut second = interval(Duration::from_secs(1));
    for order in 1_u64.. {
        tokio::select! {
            _ = second.tick() => println!("packed order {order}"),
            _ = terminate.recv() => break,
        }
    }
    println!("ended");
    Ok(())
}
