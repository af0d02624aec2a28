//! The connection: made, listened to, and made again; what is seen on it.
use futures::{FutureExt, StreamExt, stream, stream::BoxStream};
use redis::{AsyncConnectionConfig, Msg, PushInfo, PushKind, RedisResult, aio::MultiplexedConnection};
use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        mpsc,
    },
    time::{Duration, Instant, MissedTickBehavior, interval_at, sleep, timeout},
};

use super::{PATIENCE, Redis};
use crate::locks::message::Seen;
use mesh_kit::backoff::Backoff;

/// A connection on which nothing comes is asked whether it still is one.
const PING: Duration = Duration::from_secs(5);
/// What Redis has forgotten is told by nobody, and found out by another look at all there is.
const LOOK: Duration = Duration::from_secs(10 * 60);
/// Between attempts to connect.
const AGAIN: Backoff = Backoff { base: Duration::from_millis(250), max: Duration::from_secs(2) };
/// So many changes may wait to be seen; where there are more, all is read again.
const CHANGES: usize = 16_384;

type Pushes = broadcast::Receiver<PushInfo>;

impl Redis {
    /// Connects, and is told of changes from then on.
    pub(super) async fn dial(&self) -> RedisResult<(MultiplexedConnection, Pushes)> {
        let (sender, pushes) = broadcast::channel(CHANGES);
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
        let dial = async {
            let mut connection = self.0.client.get_multiplexed_async_connection_with_config(&config.set_push_sender(sender)).await?;
            connection.subscribe(self.0.names.channel()).await?;
            Ok((connection, pushes))
        };
        timeout(PATIENCE, dial).await.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
    }

    /// All there is and what becomes of it, for as long as somebody looks; with it the connection for the calls is kept.
    pub(in crate::locks) fn watch(&self) -> BoxStream<'static, Seen> {
        let (sender, mut receiver) = mpsc::channel(64);
        let this = self.clone();
        let keeping = async move { this.keep(&sender).await }.into_stream().filter_map(async |()| None);
        stream::select(stream::poll_fn(move |context| receiver.poll_recv(context)), keeping).boxed()
    }

    async fn keep(self, seen: &mpsc::Sender<Seen>) {
        let mut row = 0;
        for number in 1.. {
            let why = match self.dial().await {
                Ok((connection, pushes)) => self.attend((number, connection), pushes, seen, &mut row).await,
                Err(error) => self.away(&error),
            };
            row += 1;
            if row == 1 {
                tracing::warn!(error = why, "locks: Redis is away; none is given until it answers, and what is held is lost at its ttl");
            } else {
                tracing::debug!(error = why, failures = row, "locks: Redis is away");
            }
            self.0.up.set(0);
            drop(self.0.line.send_replace(Err(why)));
            sleep(AGAIN.delay(row + 1, rand::random())).await;
        }
    }

    /// Says what is seen until the connection is none any more; why.
    async fn attend(&self, line: (u64, MultiplexedConnection), mut pushes: Pushes, seen: &mpsc::Sender<Seen>, row: &mut u32) -> String {
        let (number, mut connection) = line.clone();
        let mut doubted = self.0.doubted.subscribe();
        let mut ping = interval_at(Instant::now() + PING, PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = interval_at(Instant::now() + LOOK, LOOK);
        if let Err(why) = self.look(&line, seen).await {
            return why;
        }
        if std::mem::take(row) > 0 {
            tracing::info!("locks: Redis answers again");
        }
        loop {
            tokio::select! {
                push = pushes.recv() => match push {
                    Ok(push) if push.kind == PushKind::Disconnection => return format!("{} has closed the connection", self.0.at),
                    Ok(push) => if let Some(change) = self.change(push) {
                        // Whoever looked on ends with this.
                        let _ = seen.send(change).await;
                    },
                    Err(RecvError::Lagged(_)) => look.reset_immediately(),
                    Err(RecvError::Closed) => return format!("{} has closed the connection", self.0.at),
                },
                () = async { drop(doubted.wait_for(|doubted| *doubted == number).await) } => return self.silent(),
                _ = look.tick() => if let Err(why) = self.look(&line, seen).await {
                    return why;
                },
                _ = ping.tick() => if let Err(error) = redis::cmd("PING").query_async::<()>(&mut connection).await {
                    return self.away(&error);
                },
            }
        }
    }

    /// Looks at all there is; from then on the connection may be used.
    async fn look(&self, line: &(u64, MultiplexedConnection), seen: &mpsc::Sender<Seen>) -> Result<(), String> {
        let all = self.list(&mut line.1.clone()).await.map_err(|error| self.away(&error))?;
        self.0.up.set(1);
        drop(self.0.line.send_replace(Ok(line.clone())));
        let all = all.into_iter().map(|(key, record)| Seen::Listed(key, record));
        for one in std::iter::once(Seen::Listing).chain(all).chain([Seen::AllListed]) {
            // Whoever looked on ends with this.
            let _ = seen.send(one).await;
        }
        Ok(())
    }

    fn change(&self, push: PushInfo) -> Option<Seen> {
        let told = serde_json::from_slice(Msg::from_push_info(push)?.get_payload_bytes()).ok()?;
        let (key, record) = self.0.names.told(told)?;
        Some(Seen::Changed(key, record))
    }
}
