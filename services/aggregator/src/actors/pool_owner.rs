//! `PoolOwner`: the one actor through which everything about a pool passes. It owns the pool, or follows its
//! owner as a standby.

mod bulk;
mod effects;
mod signals;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, RpcReplyPort};
use signalbox_peers::{ListenerState, StreamSender};
use signalbox_state::{
    AssignedEndpoint, CollectorStream, FollowerPoll, JournalBounds, PollReply, PoolInput, PoolRole,
    PoolRoleConfig, RoleInput, RoleStatus,
};
use signalbox_types::PoolSpec;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::signals::ToStore;
use super::coordination::{self, Membership};
use crate::metrics::PoolMetrics;
use crate::pools::{BulkMessage, PoolHandle, PoolOwnerMessage, PoolOwnerRef};

/// How often a standby learns the time: it bounds how late it notices that it must take the pool over.
const TICK_INTERVAL: Duration = Duration::from_millis(50);

/// How often an owner learns the time. Each time it considers the endpoints that something happened to, or whose time
/// has come.
const OWNER_TICK_INTERVAL: Duration = Duration::from_millis(100);

/// How often the metrics are set.
const METRICS_INTERVAL: Duration = Duration::from_millis(250);

/// How long a draining owner waits for its successor to fetch the history that it lacks.
const DRAIN_LINGER: Duration = Duration::from_millis(500);

/// What a pool's actor needs to start.
#[derive(Clone, Debug)]
pub(crate) struct PoolOwnerSetup {
    pub(crate) config: PoolRoleConfig,
    pub(crate) specs: watch::Receiver<Arc<PoolSpec>>,
    /// How much history the pool keeps.
    pub(crate) history: watch::Receiver<JournalBounds>,
    /// The other aggregators.
    pub(crate) peers: signalbox_peers::FollowSettings,
    pub(crate) membership: Membership,
    pub(crate) handle: Arc<PoolHandle>,
    pub(crate) metrics: Arc<PoolMetrics>,
}

/// The actor of one pool: for each message, it updates the pool's role and performs the resulting effects.
#[derive(Debug)]
pub(crate) struct PoolOwner;

pub(crate) struct State {
    role: PoolRole,
    setup: PoolOwnerSetup,
    started: Instant,
    metrics_set_at: Instant,
    /// Sends assignments on each collector's stream.
    collectors: BTreeMap<CollectorStream, watch::Sender<Vec<AssignedEndpoint>>>,
    /// The streams to other aggregators.
    aggregators: BTreeMap<u64, StreamSender>,
    /// Start of the drain, and where to report its end.
    draining: Option<(Instant, RpcReplyPort<()>)>,
    /// Whether the bulk queue contains the message that the pool must go on with what it left unfinished.
    is_continuing: bool,
    /// What to store with the coordinator.
    to_store: watch::Sender<ToStore>,
    /// Send messages to the actor. They end with it.
    _tasks: JoinSet<()>,
}

impl Actor for PoolOwner {
    type Msg = PoolOwnerMessage;
    type State = State;
    type Arguments = PoolOwnerSetup;

    async fn pre_start(
        &self,
        myself: PoolOwnerRef,
        mut setup: PoolOwnerSetup,
    ) -> Result<State, ActorProcessingErr> {
        setup.handle.progress.record();
        setup.config.pool.journal = *setup.history.borrow_and_update();
        let mut specs = setup.specs.clone();
        let role = PoolRole::new(setup.config.clone(), Arc::clone(&specs.borrow_and_update()));
        let (actor, listener, handle) = (myself.clone(), myself.clone(), Arc::clone(&setup.handle));
        handle.history.store(None);
        handle.bulk.clear();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while specs.changed().await.is_ok() {
                let spec = specs.borrow_and_update().clone();
                if actor.cast(PoolOwnerMessage::SpecChanged(spec)).is_err() {
                    break;
                }
            }
        });
        tasks.spawn(signalbox_peers::follow(setup.peers.clone(), move |event| {
            match handle.bulk.push(&listener, BulkMessage::StreamEvent(event)) {
                Ok(()) => ListenerState::Listening,
                Err(_) => ListenerState::Closed,
            }
        }));
        let to_store = watch::Sender::default();
        let (membership, pool) = (setup.membership.clone(), setup.handle.pool.clone());
        tasks.spawn(signals::store(membership, pool, to_store.subscribe()));
        coordination::watch(&setup.membership, &setup.handle.pool, &myself, &mut tasks);
        myself.send_after(TICK_INTERVAL, || PoolOwnerMessage::Tick);
        let (started, collectors, aggregators) = (Instant::now(), BTreeMap::new(), BTreeMap::new());
        let metrics_set_at = started;
        Ok(State {
            role,
            setup,
            started,
            metrics_set_at,
            collectors,
            aggregators,
            draining: None,
            is_continuing: false,
            to_store,
            _tasks: tasks,
        })
    }

    async fn handle(
        &self,
        myself: PoolOwnerRef,
        message: PoolOwnerMessage,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            PoolOwnerMessage::SpecChanged(spec) => {
                // A new share comes with the specifications of other pools.
                state.update_history();
                state.apply(&myself, RoleInput::Spec(spec));
            }
            PoolOwnerMessage::CollectorJoined { stream, name, assignment } => {
                state.collectors.insert(stream, assignment);
                state.apply(&myself, RoleInput::Pool(PoolInput::CollectorJoined(stream, name)));
            }
            PoolOwnerMessage::CollectorLeft(stream) => {
                state.collectors.remove(&stream);
                state.apply(&myself, RoleInput::Pool(PoolInput::CollectorLeft(stream)));
            }
            PoolOwnerMessage::BulkQueued => state.handle_bulk(&myself),
            PoolOwnerMessage::FollowerJoined { follower, name } => {
                state.apply(&myself, RoleInput::FollowerJoined(follower, name));
            }
            PoolOwnerMessage::FollowerMessage { follower, message, permit } => {
                state.apply(&myself, RoleInput::FollowerMessage(follower, message));
                drop(permit);
            }
            PoolOwnerMessage::FollowerLeft(follower) => {
                // This fails if the actor has been stopped. Then there is nothing left to do.
                let _ = state.setup.handle.bulk.push(&myself, BulkMessage::FollowerLeft(follower));
            }
            PoolOwnerMessage::FollowerCaughtUp(follower) => {
                state.apply(&myself, RoleInput::FollowerCaughtUp(follower));
            }
            // The stream that polls may have ended in the meantime.
            PoolOwnerMessage::Poll(poll, port) => drop(port.send(state.poll(&myself, poll))),
            PoolOwnerMessage::OwnerObserved(owner) => state.apply(&myself, RoleInput::OwnerObserved(owner)),
            PoolOwnerMessage::ClaimAnswered(result) => state.apply(&myself, RoleInput::ClaimAnswered(result)),
            PoolOwnerMessage::Candidates(names) => state.apply(&myself, RoleInput::Candidates(names)),
            PoolOwnerMessage::Drain(port) => {
                state.draining = Some((Instant::now(), port));
                state.apply(&myself, RoleInput::Drain);
            }
            PoolOwnerMessage::StoredSignal { epoch, stored } => {
                state.handle_stored_signal(&myself, epoch, stored);
            }
            PoolOwnerMessage::GrantDue => state.apply(&myself, RoleInput::Pool(PoolInput::GrantDue)),
            PoolOwnerMessage::Tick => {
                state.role.record_waiting(state.setup.handle.bulk.waiting().as_millis() as u64);
                state.apply(&myself, RoleInput::Tick);
                state.finish_drain();
                state.update_history();
                if state.metrics_set_at.elapsed() >= METRICS_INTERVAL {
                    state.set_metrics();
                }
                myself.send_after(state.tick_interval(), || PoolOwnerMessage::Tick);
            }
        }
        state.setup.handle.publish_epoch(state.role.epoch());
        state.publish_signal();
        state.setup.handle.progress.record();
        Ok(())
    }
}

impl State {
    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn tick_interval(&self) -> Duration {
        match self.role.status() {
            RoleStatus::Owner(_) => OWNER_TICK_INTERVAL,
            RoleStatus::Standby | RoleStatus::TakingOver(_) => TICK_INTERVAL,
        }
    }

    /// Keeps as much history as is this pool's share now.
    fn update_history(&mut self) {
        if self.setup.history.has_changed().unwrap_or_default() {
            let bounds = *self.setup.history.borrow_and_update();
            self.role.set_history(self.now_ms(), bounds);
        }
    }

    fn set_metrics(&mut self) {
        self.metrics_set_at = Instant::now();
        self.setup.metrics.update(&self.role, self.now_ms());
    }

    /// Applies an input to the role and performs its effects.
    fn apply(&mut self, myself: &PoolOwnerRef, input: RoleInput) {
        for effect in self.role.handle(self.now_ms(), input) {
            self.perform(myself, effect);
        }
    }

    fn poll(&mut self, myself: &PoolOwnerRef, poll: FollowerPoll) -> PollReply {
        let reply = self.role.poll(self.now_ms(), poll);
        match reply {
            PollReply::Snapshot(_) => {
                self.setup.metrics.snapshots_sent.inc();
            }
            PollReply::Later => self.continue_later(myself),
            PollReply::Current(_) | PollReply::Frame(_) => {}
        }
        reply
    }

    /// Ends the drain once the next owner is visible, no other aggregator could become the owner, or it takes
    /// too long.
    fn finish_drain(&mut self) {
        let is_done = |since: &Instant| {
            self.aggregators.is_empty()
                || self.role.sees_owner(self.now_ms())
                || since.elapsed() >= DRAIN_LINGER
        };
        if self.draining.as_ref().is_some_and(|(since, _)| is_done(since))
            && let Some((_, port)) = self.draining.take()
        {
            let _ = port.send(());
        }
    }
}

#[cfg(test)]
mod tests;
