//! A follower of the pool in this process. It uses the same code as an EPP replica and reports the applied
//! changes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use signalbox_peers::{
    Connections, FollowSettings, FollowedPool, ListenerState, StreamEvent, StreamSender, follow,
};
use signalbox_state::{
    Change, Follower, FollowerEffect, FollowerEvent, Frame, FrameSource, FromAggregator, JournalBounds,
    JournaledReplica,
};
use signalbox_tls::Security;
use signalbox_types::{EndpointKey, Origin, PeerAddress};
use signalbox_wire::Hello;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// History bounds of an EPP replica.
const HISTORY: JournalBounds = JournalBounds { keep_bytes: 1 << 20, keep_ms: 0, max_bytes: 1 << 20 };

/// An observed change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ObservedChange {
    /// The number of a replica's requests in flight at an endpoint.
    LoadChanged { endpoint: EndpointKey, origin: Origin, requests: u32 },
    /// The number of waiting requests that an endpoint reports.
    EndpointObserved { endpoint: EndpointKey, waiting: u32 },
    /// An aggregator has announced that it owns the pool in this epoch.
    OwnerChanged { epoch: u64 },
}

/// An observed change and the time at which it was applied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observation {
    pub(crate) at: Instant,
    pub(crate) change: ObservedChange,
}

/// A follower that reports what it observes.
#[derive(Debug)]
pub(crate) struct PoolFollower {
    observations: mpsc::UnboundedReceiver<Observation>,
    follower: Arc<Mutex<Follower>>,
    _aggregators: watch::Sender<Vec<PeerAddress>>,
    tasks: [JoinHandle<()>; 2],
}

impl PoolFollower {
    /// Follows the pool's owner among `aggregators`.
    pub(crate) fn follow(aggregators: &[SocketAddr]) -> Self {
        let peers = aggregators.iter().copied().map(PeerAddress::from).collect();
        let (aggregators, list) = watch::channel(peers);
        let hello = Hello { pool: None, name: "coherence-bench".to_owned() };
        let (events, streamed) = mpsc::unbounded_channel();
        let streams = follow(
            FollowSettings {
                pool: Arc::new(FollowedPool::requested_by(&hello)),
                hello,
                aggregators: list,
                connections: Connections::new(Security::Local),
            },
            move |event| match events.send(event) {
                Ok(()) => ListenerState::Listening,
                Err(_) => ListenerState::Closed,
            },
        );
        let follower = Arc::new(Mutex::new(Follower::new(JournaledReplica::new(HISTORY))));
        let (observed, observations) = mpsc::unbounded_channel();
        let task = FollowerTask {
            follower: Arc::clone(&follower),
            senders: BTreeMap::new(),
            epoch: 0,
            started: Instant::now(),
            observed,
        };
        let tasks = [tokio::spawn(streams), tokio::spawn(task.run(streamed))];
        Self { observations, follower, _aggregators: aggregators, tasks }
    }

    /// Returns the follower's state.
    pub(crate) fn state(&self) -> MutexGuard<'_, Follower> {
        self.follower.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of requests in flight according to the replicas' gauges.
    pub(crate) fn in_flight(&self) -> u64 {
        let state = self.state();
        let pool_state = state.replica().state_replica().pool_state();
        pool_state.endpoints().map(|member| u64::from(pool_state.loads().total(member.key).requests)).sum()
    }

    /// Returns all observations that were not yet consumed.
    pub(crate) fn drain(&mut self) -> Vec<Observation> {
        std::iter::from_fn(|| self.observations.try_recv().ok()).collect()
    }

    /// Waits for an observation for which `select` returns a value.
    ///
    /// # Errors
    /// Fails when there is none in time.
    pub(crate) async fn wait<T>(
        &mut self,
        timeout: Duration,
        mut select: impl FnMut(Observation) -> Option<T>,
    ) -> anyhow::Result<T> {
        let result = tokio::time::timeout(timeout, async {
            loop {
                let observation = self.observations.recv().await.context("the follower has stopped")?;
                if let Some(found) = select(observation) {
                    return Ok(found);
                }
            }
        });
        result.await.context("the expected observation does not arrive in time")?
    }
}

impl Drop for PoolFollower {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// The task that applies messages.
struct FollowerTask {
    follower: Arc<Mutex<Follower>>,
    senders: BTreeMap<u64, StreamSender>,
    epoch: u64,
    started: Instant,
    observed: mpsc::UnboundedSender<Observation>,
}

impl FollowerTask {
    async fn run(mut self, mut streamed: mpsc::UnboundedReceiver<StreamEvent>) {
        while let Some(event) = streamed.recv().await {
            match event {
                StreamEvent::Opened { stream, sender, .. } => {
                    self.senders.insert(stream, sender);
                    self.apply(stream, FollowerEvent::Connected, Vec::new());
                }
                StreamEvent::Received { stream, message, permit } => {
                    let changes = changes_in(&message);
                    self.apply(stream, FollowerEvent::Received(message), changes);
                    drop(permit);
                }
                StreamEvent::Closed { stream } => {
                    self.senders.remove(&stream);
                    self.apply(stream, FollowerEvent::Disconnected, Vec::new());
                }
            }
        }
    }

    /// Applies an event, then reports `changes`.
    fn apply(&mut self, stream: u64, event: FollowerEvent, mut changes: Vec<ObservedChange>) {
        let now_ms = self.started.elapsed().as_millis() as u64;
        let mut follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner);
        let effects = follower.handle(now_ms, FrameSource::Aggregator(stream), event);
        let epoch = follower.owner(now_ms).map_or(0, |(_, epoch)| epoch);
        drop(follower);
        let at = Instant::now();
        if !effects.contains(&FollowerEffect::Advanced) {
            changes.clear();
        }
        if epoch > self.epoch {
            self.epoch = epoch;
            changes.push(ObservedChange::OwnerChanged { epoch });
        }
        for change in changes {
            // The receiver may be gone already.
            let _ = self.observed.send(Observation { at, change });
        }
        for effect in effects {
            if let FollowerEffect::Send(FrameSource::Aggregator(stream), message) = effect
                && let Some(sender) = self.senders.get(&stream)
            {
                sender.send(message);
            }
        }
    }
}

/// Returns the changes that a message contains.
fn changes_in(message: &FromAggregator) -> Vec<ObservedChange> {
    let FromAggregator::Frame(Frame::Delta { changes, .. }) = message else { return Vec::new() };
    let observed = changes.iter().filter_map(|change| match change {
        Change::LoadChanged { endpoint, origin, load } => Some(ObservedChange::LoadChanged {
            endpoint: *endpoint,
            origin: *origin,
            requests: load.requests,
        }),
        Change::Observed { endpoint, observed } => {
            Some(ObservedChange::EndpointObserved { endpoint: *endpoint, waiting: observed.gauges.waiting })
        }
        _ => None,
    });
    observed.collect()
}
