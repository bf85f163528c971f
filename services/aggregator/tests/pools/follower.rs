//! A follower of one pool that tells what it sees.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use signalbox_aggregator::Aggregator;
use signalbox_peers::{
    Connections, FollowSettings, FollowedPool, ListenerState, StreamEvent, StreamSender, follow,
};
use signalbox_state::{
    Follower, FollowerEffect, FollowerEvent, FrameSource, JournalBounds, JournaledReplica,
};
use signalbox_wire::Hello;
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::TIMEOUT;

/// A running follower.
pub(crate) struct Followed {
    seen: mpsc::UnboundedReceiver<String>,
    _streams: AbortOnDropHandle<()>,
    _aggregators: watch::Sender<Vec<signalbox_types::PeerAddress>>,
}

struct State {
    follower: Follower,
    started: Instant,
    sender: Option<StreamSender>,
    endpoints: BTreeSet<String>,
    /// Whether a message arrived on the current stream.
    was_open: bool,
    seen: mpsc::UnboundedSender<String>,
}

impl Followed {
    /// Follows a pool of `aggregator`.
    pub(crate) fn start(aggregator: &Aggregator, connections: &Connections, pool: &str) -> Self {
        let (seen, receiver) = mpsc::unbounded_channel();
        let state = State {
            follower: Follower::new(JournaledReplica::new(JournalBounds::default())),
            started: Instant::now(),
            sender: None,
            endpoints: BTreeSet::new(),
            was_open: false,
            seen,
        };
        let (aggregators, addresses) = watch::channel(vec![aggregator.address().into()]);
        let hello = Hello { pool: Some(format!("default/{pool}")), name: "follower".to_owned() };
        let pool = Arc::new(FollowedPool::requested_by(&hello));
        let connections = connections.clone();
        let settings = FollowSettings { hello, pool, aggregators: addresses, connections };
        let state = Arc::new(Mutex::new(state));
        let streams = tokio::spawn(follow(settings, move |event| {
            state.lock().unwrap().handle(event);
            ListenerState::Listening
        }));
        Self { seen: receiver, _streams: AbortOnDropHandle::new(streams), _aggregators: aggregators }
    }

    /// Waits until the follower sees `wanted`: `endpoint NAME`, `closed` (a stream that was open ended) or `refusal` (a
    /// stream did not open).
    pub(crate) async fn wait(&mut self, wanted: &str) {
        let found = async {
            while let Some(seen) = self.seen.recv().await {
                if seen == wanted {
                    return;
                }
            }
            panic!("the follower ended");
        };
        tokio::time::timeout(TIMEOUT, found).await.unwrap_or_else(|_| panic!("did not see {wanted}"));
    }
}

impl State {
    fn handle(&mut self, event: StreamEvent) {
        let (stream, event) = match event {
            StreamEvent::Opened { stream, sender, .. } => {
                self.sender = Some(sender);
                (stream, FollowerEvent::Connected)
            }
            StreamEvent::Received { stream, message, permit } => {
                drop(permit);
                self.was_open = true;
                (stream, FollowerEvent::Received(message))
            }
            StreamEvent::Closed { stream } => {
                let seen = if std::mem::take(&mut self.was_open) { "closed" } else { "refusal" };
                let _ = self.seen.send(seen.to_owned());
                self.endpoints.clear();
                (stream, FollowerEvent::Disconnected)
            }
        };
        let now_ms = Duration::as_millis(&self.started.elapsed()) as u64;
        for effect in self.follower.handle(now_ms, FrameSource::Aggregator(stream), event) {
            if let (FollowerEffect::Send(_, message), Some(sender)) = (effect, &self.sender) {
                sender.send(message);
            }
        }
        self.report_endpoints();
    }

    fn report_endpoints(&mut self) {
        if !self.was_open {
            return;
        }
        for endpoint in self.follower.replica().state_replica().pool_state().endpoints() {
            if self.endpoints.insert(endpoint.spec.name.clone()) {
                let _ = self.seen.send(format!("endpoint {}", endpoint.spec.name));
            }
        }
    }
}
