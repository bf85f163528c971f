//! Which aggregators there are, and one task for each.

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

use crate::stream::{Event, Listening, Stream, StreamEnd, Subject};

const RECONNECT: BackoffPolicy =
    BackoffPolicy { base: Duration::from_millis(50), cap: Duration::from_secs(1) };

/// Reasons that are told until a stream lasts again.
const REASONS_TOLD: usize = 16;

/// A stream that was open for so long was well.
const LASTING: Duration = Duration::from_secs(10);

/// Whom to follow, and as whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who follows, and which pool.
    pub hello: Hello,
    /// The pool, once it is known.
    pub subject: Arc<Subject>,
    /// The aggregators. One that is not in the list any more is left.
    pub aggregators: watch::Receiver<Vec<PeerAddress>>,
    /// How they are spoken with.
    pub security: Security,
}

/// Keeps a stream open to each aggregator, and tells what happens on them, until nobody listens or the list is dropped.
pub async fn follow<L>(settings: Settings, listener: L)
where
    L: Fn(Event) -> Listening + Clone + Send + Sync + 'static,
{
    let Settings { hello, subject, mut aggregators, security } = settings;
    let streams = Arc::new(AtomicU64::new(1));
    let mut tasks: BTreeMap<PeerAddress, JoinSet<()>> = BTreeMap::new();
    loop {
        let wanted = aggregators.borrow_and_update().clone();
        // Dropped, a set ends its task, and the task's stream tells that it is over.
        tasks.retain(|aggregator, _| wanted.contains(aggregator));
        for aggregator in wanted {
            tasks.entry(aggregator.clone()).or_insert_with(|| {
                let stream = Stream {
                    aggregator,
                    hello: hello.clone(),
                    subject: Arc::clone(&subject),
                    security: security.clone(),
                    streams: Arc::clone(&streams),
                    listener: listener.clone(),
                };
                JoinSet::from_iter([keep(stream)])
            });
        }
        if aggregators.changed().await.is_err() {
            return;
        }
    }
}

/// Opens the stream again and again.
async fn keep<L: Fn(Event) -> Listening + Clone>(stream: Stream<L>) {
    let mut backoff = Backoff::new(RECONNECT);
    let mut told = BTreeSet::new();
    loop {
        let began = Instant::now();
        let end = stream.run().await;
        if end.was_open() {
            backoff.on_success();
        }
        if began.elapsed() >= LASTING {
            told.clear();
        }
        let aggregator = &stream.aggregator;
        match end {
            StreamEnd::Unwanted => return,
            // The same reason again is no news.
            end if told.len() < REASONS_TOLD && told.insert(end.to_string()) => {
                tracing::warn!(%aggregator, reason = %end, "no stream to the aggregator; it is tried again");
            }
            end => tracing::debug!(%aggregator, reason = %end, "still no stream to the aggregator"),
        }
        tokio::time::sleep(backoff.on_failure(rand::random())).await;
    }
}
