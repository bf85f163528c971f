//! Runs one task per aggregator, as the list of aggregators changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use signalbox_actors::{Backoff, BackoffPolicy};
use signalbox_tls::Security;
use signalbox_types::PeerAddress;
use signalbox_wire::Hello;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::followed_pool::FollowedPool;
use crate::stream::{AggregatorStream, ListenerState, StreamEnd, StreamEvent};

const RECONNECT: BackoffPolicy =
    BackoffPolicy { base: Duration::from_millis(50), cap: Duration::from_secs(1) };

/// Maximum of distinct reasons that are logged as warnings until a stream is stable again.
const MAX_REASONS_LOGGED: usize = 16;

/// A stream that stayed open this long was stable.
const STABLE_AFTER: Duration = Duration::from_secs(10);

/// Which aggregators to follow, and how.
#[derive(Clone, Debug)]
pub struct FollowSettings {
    /// Introduces the follower and names the pool.
    pub hello: Hello,
    /// The pool, once it is known.
    pub pool: Arc<FollowedPool>,
    /// The aggregators. Streams to aggregators that leave the list are closed.
    pub aggregators: watch::Receiver<Vec<PeerAddress>>,
    /// Security of the connections.
    pub security: Security,
}

/// Keeps a stream open to each aggregator and reports its events to `listener`, until the listener is closed
/// or the sender of the list is dropped.
pub async fn follow<L>(settings: FollowSettings, listener: L)
where
    L: Fn(StreamEvent) -> ListenerState + Clone + Send + Sync + 'static,
{
    let FollowSettings { hello, pool, mut aggregators, security } = settings;
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
                    security: security.clone(),
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
    let mut backoff = Backoff::new(RECONNECT);
    let mut logged = BTreeSet::new();
    loop {
        let started = Instant::now();
        let end = stream.run().await;
        if end.was_open() {
            backoff.on_success();
        }
        if started.elapsed() >= STABLE_AFTER {
            logged.clear();
        }
        let aggregator = &stream.aggregator;
        match end {
            StreamEnd::ListenerClosed => return,
            // A reason that was logged before is not news.
            end if logged.len() < MAX_REASONS_LOGGED && logged.insert(end.to_string()) => {
                tracing::warn!(%aggregator, reason = %end, "no stream to the aggregator; retrying");
            }
            end => tracing::debug!(%aggregator, reason = %end, "still no stream to the aggregator; retrying"),
        }
        tokio::time::sleep(backoff.on_failure(rand::random())).await;
    }
}
