//! `PoolOwner`: the one actor through which everything about a pool passes. It owns the pool, or follows its
//! owner as a standby.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, RpcReplyPort};
use signalbox_peers::{ListenerState, StreamEvent, StreamSender};
use signalbox_state::{
    AssignedEndpoint, CollectorStream, Feedback, FollowerEvent, FollowerPoll, PollReply, PoolEffect,
    PoolInput, PoolRole, PoolRoleConfig, RoleEffect, RoleInput, RoleStatus,
};
use signalbox_types::PoolSpec;
use signalbox_wire::FeedbackReply;
use tokio::sync::{mpsc, watch};

use super::coordination::{self, Membership};
use crate::metrics::PoolMetrics;
use crate::pools::{CollectorReports, PoolHandle, PoolOwnerMessage, PoolOwnerRef};

/// How often the role learns the time.
const TICK_INTERVAL: Duration = Duration::from_millis(50);

/// How long a draining owner waits for its successor to fetch the history that it lacks.
const DRAIN_LINGER: Duration = Duration::from_millis(500);

/// What a pool's actor needs to start.
#[derive(Clone, Debug)]
pub(crate) struct PoolOwnerSetup {
    pub(crate) config: PoolRoleConfig,
    pub(crate) specs: watch::Receiver<PoolSpec>,
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
    /// Sends assignments on each collector's stream.
    collectors: BTreeMap<CollectorStream, watch::Sender<Vec<AssignedEndpoint>>>,
    /// The streams to other aggregators.
    aggregators: BTreeMap<u64, StreamSender>,
    /// Start of the drain, and where to report its end.
    draining: Option<(Instant, RpcReplyPort<()>)>,
}

impl Actor for PoolOwner {
    type Msg = PoolOwnerMessage;
    type State = State;
    type Arguments = PoolOwnerSetup;

    async fn pre_start(
        &self,
        myself: PoolOwnerRef,
        setup: PoolOwnerSetup,
    ) -> Result<State, ActorProcessingErr> {
        let mut specs = setup.specs.clone();
        let role = PoolRole::new(setup.config.clone(), specs.borrow_and_update().clone());
        let (actor, listener) = (myself.clone(), myself.clone());
        tokio::spawn(async move {
            while specs.changed().await.is_ok() {
                let spec = specs.borrow_and_update().clone();
                if actor.cast(PoolOwnerMessage::SpecChanged(spec)).is_err() {
                    break;
                }
            }
        });
        tokio::spawn(signalbox_peers::follow(setup.peers.clone(), move |event| {
            match listener.cast(PoolOwnerMessage::StreamEvent(event)) {
                Ok(()) => ListenerState::Listening,
                Err(_) => ListenerState::Closed,
            }
        }));
        coordination::watch(&setup.membership, &setup.handle.pool, &myself);
        myself.send_after(TICK_INTERVAL, || PoolOwnerMessage::Tick);
        let (started, collectors, aggregators) = (Instant::now(), BTreeMap::new(), BTreeMap::new());
        Ok(State { role, setup, started, collectors, aggregators, draining: None })
    }

    async fn handle(
        &self,
        myself: PoolOwnerRef,
        message: PoolOwnerMessage,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            PoolOwnerMessage::SpecChanged(spec) => state.apply(&myself, RoleInput::Spec(spec)),
            PoolOwnerMessage::CollectorJoined { stream, name, assignment } => {
                state.collectors.insert(stream, assignment);
                state.apply(&myself, RoleInput::Pool(PoolInput::CollectorJoined(stream, name)));
            }
            PoolOwnerMessage::CollectorLeft(stream) => {
                state.collectors.remove(&stream);
                state.apply(&myself, RoleInput::Pool(PoolInput::CollectorLeft(stream)));
            }
            PoolOwnerMessage::Reports(reports, permit) => {
                state.handle_reports(&myself, reports);
                drop(permit);
            }
            PoolOwnerMessage::Feedback { feedback, replies, permit } => {
                state.handle_feedback(&myself, feedback, &replies);
                drop(permit);
            }
            PoolOwnerMessage::FollowerJoined { follower, name } => {
                state.apply(&myself, RoleInput::FollowerJoined(follower, name));
            }
            PoolOwnerMessage::FollowerMessage { follower, message, permit } => {
                state.apply(&myself, RoleInput::FollowerMessage(follower, message));
                drop(permit);
            }
            PoolOwnerMessage::FollowerLeft(follower) => {
                state.apply(&myself, RoleInput::FollowerLeft(follower));
            }
            // The stream that polls may have ended in the meantime.
            PoolOwnerMessage::Poll(poll, port) => drop(port.send(state.poll(poll))),
            PoolOwnerMessage::StreamEvent(event) => state.handle_stream_event(&myself, event),
            PoolOwnerMessage::OwnerObserved(owner) => state.apply(&myself, RoleInput::OwnerObserved(owner)),
            PoolOwnerMessage::ClaimAnswered(result) => state.apply(&myself, RoleInput::ClaimAnswered(result)),
            PoolOwnerMessage::Candidates(names) => state.apply(&myself, RoleInput::Candidates(names)),
            PoolOwnerMessage::Drain(port) => {
                state.draining = Some((Instant::now(), port));
                state.apply(&myself, RoleInput::Drain);
            }
            PoolOwnerMessage::Tick => {
                state.apply(&myself, RoleInput::Tick);
                state.finish_drain();
                state.setup.metrics.update(&state.role, state.now_ms());
                myself.send_after(TICK_INTERVAL, || PoolOwnerMessage::Tick);
            }
        }
        Ok(())
    }
}

impl State {
    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Applies an input to the role and performs its effects.
    fn apply(&mut self, myself: &PoolOwnerRef, input: RoleInput) {
        for effect in self.role.handle(self.now_ms(), input) {
            self.perform(myself, effect);
        }
    }

    fn handle_feedback(
        &mut self,
        myself: &PoolOwnerRef,
        feedback: Feedback,
        replies: &mpsc::Sender<FeedbackReply>,
    ) {
        for effect in self.role.handle(self.now_ms(), RoleInput::Pool(PoolInput::Feedback(feedback))) {
            let reply = match effect {
                RoleEffect::Pool(PoolEffect::NeedChain(_, number)) => {
                    self.setup.metrics.chains_requested.inc();
                    FeedbackReply::NeedChain(number)
                }
                RoleEffect::Pool(PoolEffect::Expired(origin)) => FeedbackReply::Expired(origin),
                effect => {
                    self.perform(myself, effect);
                    continue;
                }
            };
            // A full queue means that the replica is slow or gone. It then misses the reply.
            let _ = replies.try_send(reply);
        }
    }

    fn handle_reports(&mut self, myself: &PoolOwnerRef, reports: CollectorReports) {
        let CollectorReports { stream, epoch, reports } = reports;
        self.apply(myself, RoleInput::Pool(PoolInput::EpochObserved(epoch)));
        self.apply(myself, RoleInput::Pool(PoolInput::Reports(stream, reports)));
    }

    fn handle_stream_event(&mut self, myself: &PoolOwnerRef, event: StreamEvent) {
        match event {
            StreamEvent::Opened { stream, sender, .. } => {
                self.aggregators.insert(stream, sender);
                self.apply(myself, RoleInput::PeerEvent(stream, FollowerEvent::Connected));
            }
            StreamEvent::Received { stream, message, permit } => {
                self.apply(myself, RoleInput::PeerEvent(stream, FollowerEvent::Received(message)));
                drop(permit);
            }
            StreamEvent::Closed { stream } => {
                self.aggregators.remove(&stream);
                self.apply(myself, RoleInput::PeerEvent(stream, FollowerEvent::Disconnected));
            }
        }
    }

    fn perform(&mut self, myself: &PoolOwnerRef, effect: RoleEffect) {
        let PoolOwnerSetup { membership, handle, metrics, .. } = &self.setup;
        match effect {
            RoleEffect::Pool(effect) => self.perform_pool_effect(effect),
            RoleEffect::Send(aggregator, message) => {
                if let Some(sender) = self.aggregators.get(&aggregator) {
                    sender.send(message);
                }
            }
            RoleEffect::Claim { above } => coordination::claim(membership, &handle.pool, above, myself),
            RoleEffect::Release => coordination::release(membership, &handle.pool),
            RoleEffect::StatusChanged(status) => self.handle_status_change(status),
            RoleEffect::WakeFollowers => handle.wake_followers(self.role.epoch()),
            RoleEffect::Gap(gap) => {
                metrics.frame_gaps.inc();
                tracing::debug!(pool = %handle.pool, %gap, "cannot apply a frame from the owner");
            }
            RoleEffect::SnapshotInstalled => {
                let version = self.role.version().unwrap_or_default();
                tracing::info!(pool = %handle.pool, %version, "applied a snapshot");
            }
        }
    }

    fn perform_pool_effect(&mut self, effect: PoolEffect) {
        match effect {
            PoolEffect::Published(version) => self.setup.handle.wake_followers(version.epoch),
            PoolEffect::Assign(stream, endpoints) => {
                if let Some(assignment) = self.collectors.get(&stream) {
                    let (stream, endpoints_assigned) = (stream.0, endpoints.len());
                    tracing::info!(stream, endpoints_assigned, "assigned endpoints to a collector");
                    assignment.send_replace(endpoints);
                }
            }
            // Dropping the sender ends the stream.
            PoolEffect::CloseCollector(stream) => {
                tracing::warn!(
                    stream = stream.0,
                    "a collector is silent or has reconnected; reassigning its endpoints"
                );
                self.setup.metrics.collectors_dropped.inc();
                self.collectors.remove(&stream);
            }
            PoolEffect::Count(event) => self.setup.metrics.record(event),
            PoolEffect::NeedChain(..) | PoolEffect::Expired(_) | PoolEffect::Outranked(_) => {}
        }
    }

    fn handle_status_change(&mut self, status: RoleStatus) {
        let PoolOwnerSetup { handle, metrics, .. } = &self.setup;
        let version = self.role.version().unwrap_or_default();
        match status {
            RoleStatus::Owner(epoch) => {
                metrics.takeovers.inc();
                tracing::info!(pool = %handle.pool, epoch, %version, "became the pool's owner");
            }
            RoleStatus::TakingOver(epoch) => {
                tracing::info!(pool = %handle.pool, epoch, %version, "taking the pool over");
            }
            RoleStatus::Standby => {
                tracing::info!(pool = %handle.pool, %version, "became a standby of the pool");
                self.collectors.clear();
            }
        }
        handle.set_status(status);
    }

    fn poll(&mut self, poll: FollowerPoll) -> PollReply {
        let reply = self.role.poll(self.now_ms(), poll);
        if matches!(reply, PollReply::Snapshot(_)) {
            self.setup.metrics.snapshots_sent.inc();
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
