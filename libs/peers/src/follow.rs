//! Runs one task per aggregator, as the list of aggregators changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use signalbox_types::PeerAddress;
use signalbox_wire::Hello;
use tokio::sync::watch;
use tokio::task::JoinSet;

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
    /// The aggregators. Streams to aggregators that leave the list are closed.
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
    let mut tasks: BTreeMap<PeerAddress, JoinSet<()>> = BTreeMap::new();
    loop {
        let wanted = aggregators.borrow_and_update().clone();
        // Dropping a set aborts its task, and the task's stream then reports that it is closed.
        tasks.retain(|aggregator, _| wanted.contains(aggregator));
        for aggregator in wanted {
            tasks.entry(aggregator.clone()).or_insert_with(|| {
                let stream = AggregatorStream {
                    aggregator,
                    hello: hello.clone(),
                    pool: Arc::clone(&pool),
                    connections: connections.clone(),
                    stream_ids: Arc::clone(&stream_ids),
                    listener: listener.clone(),
                };
                JoinSet::from_iter([keep_open(stream)])
            });
        }
        if aggregators.changed().await.is_err() {
            return;
        }
    }
}

/// Reopens the stream whenever it ends.
async fn keep_open<L: Fn(StreamEvent) -> ListenerState + Clone>(stream: AggregatorStream<L>) {
    let mut reopening = Reopening::new();
    loop {
        let (started, mut has_delivered) = (Instant::now(), false);
        let end = stream.run(&mut has_delivered).await;
        if matches!(end, StreamEnd::ListenerClosed) {
            return;
        }
        reopening.wait(&stream.aggregator, started, has_delivered, &end.to_string()).await;
    }
}
