//! Runs one task per aggregator, as the list of aggregators changes.

mod tasks;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use signalbox_types::PeerAddress;
use signalbox_wire::Hello;
use tokio::sync::watch;

use self::tasks::{TaskEnd, Tasks};
use crate::connections::Connections;
use crate::followed_pool::FollowedPool;
use crate::reopening::Reopening;
use crate::stream::{AggregatorStream, ListenerState, StreamEnd, StreamEvent};

/// Which aggregators to follow, and how.
#[derive(Clone, Debug)]
pub struct FollowSettings {
    /// Introduces the follower and names the pool.
    pub hello: Hello,
    /// The pool, once it is known.
    pub pool: Arc<FollowedPool>,
    /// The aggregators. A stream to an aggregator that leaves the list stays until it ends or falls silent, and is then
    /// not opened again: an aggregator that lost its lease may work all the same.
    pub aggregators: watch::Receiver<Vec<PeerAddress>>,
    /// Connections to them.
    pub connections: Connections,
}

/// Keeps a stream open to each aggregator and reports its events to `listener`, until the listener is closed
/// or the sender of the list is dropped.
pub async fn follow<L>(settings: FollowSettings, listener: L)
where
    L: Fn(StreamEvent) -> ListenerState + Clone + Send + Sync + 'static,
{
    let FollowSettings { hello, pool, mut aggregators, connections } = settings;
    let stream_ids = Arc::new(AtomicU64::new(1));
    let mut tasks = Tasks::default();
    loop {
        let wanted = aggregators.borrow_and_update().clone();
        for aggregator in wanted {
            tasks.start(&aggregator, || {
                let stream = AggregatorStream {
                    aggregator: aggregator.clone(),
                    hello: hello.clone(),
                    pool: Arc::clone(&pool),
                    connections: connections.clone(),
                    stream_ids: Arc::clone(&stream_ids),
                    listener: listener.clone(),
                };
                keep_open(stream, aggregators.clone())
            });
        }
        tokio::select! {
            changed = aggregators.changed() => if changed.is_err() { return },
            // An aggregator that was listed again in the meantime gets another task.
            end = tasks.next_end() => if end == TaskEnd::ListenerClosed { return },
        }
    }
}

/// Reopens the stream whenever it ends, while the aggregator is listed.
async fn keep_open<L: Fn(StreamEvent) -> ListenerState + Clone>(
    stream: AggregatorStream<L>,
    listed: watch::Receiver<Vec<PeerAddress>>,
) -> TaskEnd {
    let mut reopening = Reopening::new();
    while listed.borrow().contains(&stream.aggregator) {
        let (started, mut has_delivered) = (Instant::now(), false);
        let end = stream.run(&mut has_delivered).await;
        if matches!(end, StreamEnd::ListenerClosed) {
            return TaskEnd::ListenerClosed;
        }
        reopening.wait(&stream.aggregator, started, has_delivered, &end.to_string()).await;
    }
    TaskEnd::NotListed
}

#[cfg(test)]
mod tests;
