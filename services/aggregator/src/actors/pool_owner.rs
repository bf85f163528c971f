//! `PoolSteward`: the serialization point of a pool, and its follower while another aggregator owns it. One message, one fold,
//! then its effects.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use signalbox_peers::{Event, Tell};
use signalbox_state::{
    AssignedEndpoint, ClaimResult, CollectorStream, Feedback, FollowerEvent, FollowerPoll, FromFollower,
    ObservedOwner, PollReply, PoolEffect, PoolInput, PoolRole, PoolRoleConfig, Report, RoleEffect, RoleInput,
    RoleStatus,
};
use signalbox_types::PoolSpec;
use signalbox_wire::Reply;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use super::claims::{self, Membership};
use crate::metrics::Levels;
use crate::pools::Board;

/// How often a steward looks at the time.
const TICK: Duration = Duration::from_millis(50);

/// How long one that ends waits for the next owner to fetch what it has not heard of.
const LINGER: Duration = Duration::from_millis(500);

/// What a collector sent.
#[derive(Debug)]
pub(crate) struct Reported {
    pub(crate) stream: CollectorStream,
    pub(crate) epoch: u64,
    pub(crate) reports: Vec<Report>,
}

/// What is said to a steward. Traffic from outside carries a permit, which bounds the mailbox.
#[derive(Debug)]
pub(crate) enum Message {
    Respecified(PoolSpec),
    CollectorJoined {
        stream: CollectorStream,
        name: String,
        assignment: watch::Sender<Vec<AssignedEndpoint>>,
    },
    CollectorLeft(CollectorStream),
    Reported(Reported, OwnedSemaphorePermit),
    Fed {
        feedback: Feedback,
        replies: mpsc::Sender<Reply>,
        permit: OwnedSemaphorePermit,
    },
    Asked(FollowerPoll, RpcReplyPort<PollReply>),
    Followed {
        follower: u64,
        name: String,
    },
    Told {
        follower: u64,
        told: FromFollower,
        permit: OwnedSemaphorePermit,
    },
    Unfollowed(u64),
    Streamed(Event),
    ObservedOwner(ObservedOwner),
    Candidates(Vec<String>),
    ClaimResult(ClaimResult),
    Drain(RpcReplyPort<()>),
    Ticked,
}

pub(crate) type PoolOwnerRef = ActorRef<Message>;

/// What a steward is started with.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) config: PoolRoleConfig,
    pub(crate) specs: watch::Receiver<PoolSpec>,
    pub(crate) peers: signalbox_peers::Settings,
    pub(crate) membership: Membership,
    pub(crate) board: Arc<Board>,
    pub(crate) levels: Arc<Levels>,
}

#[derive(Debug)]
pub(crate) struct PoolOwner;

pub(crate) struct State {
    role: PoolRole,
    setup: Setup,
    started: Instant,
    collectors: BTreeMap<CollectorStream, watch::Sender<Vec<AssignedEndpoint>>>,
    aggregators: BTreeMap<u64, Tell>,
    draining: Option<(Instant, RpcReplyPort<()>)>,
}

impl Actor for PoolOwner {
    type Msg = Message;
    type State = State;
    type Arguments = Setup;

    async fn pre_start(&self, myself: PoolOwnerRef, setup: Setup) -> Result<State, ActorProcessingErr> {
        let mut specs = setup.specs.clone();
        let role = PoolRole::new(setup.config.clone(), specs.borrow_and_update().clone());
        let (owner, listener) = (myself.clone(), myself.clone());
        tokio::spawn(async move {
            while specs.changed().await.is_ok() {
                let spec = specs.borrow_and_update().clone();
                if owner.cast(Message::Respecified(spec)).is_err() {
                    break;
                }
            }
        });
        tokio::spawn(signalbox_peers::follow(setup.peers.clone(), move |event| {
            match listener.cast(Message::Streamed(event)) {
                Ok(()) => signalbox_peers::Listening::On,
                Err(_) => signalbox_peers::Listening::Over,
            }
        }));
        claims::watch(&setup.membership, &setup.board.pool, &myself);
        myself.send_after(TICK, || Message::Ticked);
        let (started, collectors, aggregators) = (Instant::now(), BTreeMap::new(), BTreeMap::new());
        Ok(State { role, setup, started, collectors, aggregators, draining: None })
    }

    async fn handle(
        &self,
        myself: PoolOwnerRef,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Respecified(spec) => state.fold(&myself, RoleInput::Spec(spec)),
            Message::CollectorJoined { stream, name, assignment } => {
                state.collectors.insert(stream, assignment);
                state.fold(&myself, RoleInput::Owned(PoolInput::CollectorJoined(stream, name)));
            }
            Message::CollectorLeft(stream) => {
                state.collectors.remove(&stream);
                state.fold(&myself, RoleInput::Owned(PoolInput::CollectorLeft(stream)));
            }
            Message::Reported(reported, permit) => {
                state.reported(&myself, reported);
                drop(permit);
            }
            Message::Fed { feedback, replies, permit } => {
                state.fed(&myself, feedback, &replies);
                drop(permit);
            }
            // The stream that asked may be gone.
            Message::Asked(ask, port) => drop(port.send(state.answer(ask))),
            Message::Followed { follower, name } => {
                state.fold(&myself, RoleInput::Followed(follower, name));
            }
            Message::Told { follower, told, permit } => {
                state.fold(&myself, RoleInput::Told(follower, told));
                drop(permit);
            }
            Message::Unfollowed(follower) => state.fold(&myself, RoleInput::Unfollowed(follower)),
            Message::Streamed(event) => state.streamed(&myself, event),
            Message::ObservedOwner(seen) => state.fold(&myself, RoleInput::ObservedOwner(seen)),
            Message::Candidates(names) => state.fold(&myself, RoleInput::Candidates(names)),
            Message::ClaimResult(claimed) => state.fold(&myself, RoleInput::ClaimResult(claimed)),
            Message::Drain(port) => {
                state.draining = Some((Instant::now(), port));
                state.fold(&myself, RoleInput::Drain);
            }
            Message::Ticked => {
                state.fold(&myself, RoleInput::Tick);
                state.finish_draining();
                state.setup.levels.show(&state.role, state.now_ms());
                myself.send_after(TICK, || Message::Ticked);
            }
        }
        Ok(())
    }
}

impl State {
    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn fold(&mut self, myself: &PoolOwnerRef, input: RoleInput) {
        for effect in self.role.fold(self.now_ms(), input) {
            self.perform(myself, effect);
        }
    }

    fn fed(&mut self, myself: &PoolOwnerRef, feedback: Feedback, replies: &mpsc::Sender<Reply>) {
        for effect in self.role.fold(self.now_ms(), RoleInput::Owned(PoolInput::Feedback(feedback))) {
            let reply = match effect {
                RoleEffect::Pool(PoolEffect::NeedChain(_, number)) => {
                    self.setup.levels.chains_asked.inc();
                    Reply::NeedChain(number)
                }
                RoleEffect::Pool(PoolEffect::Expired(origin)) => Reply::Expired(origin),
                effect => {
                    self.perform(myself, effect);
                    continue;
                }
            };
            // A replica that reads no replies is slow or gone; what it is not asked for it loses.
            let _ = replies.try_send(reply);
        }
    }

    fn reported(&mut self, myself: &PoolOwnerRef, reported: Reported) {
        let Reported { stream, epoch, reports } = reported;
        self.fold(myself, RoleInput::Owned(PoolInput::EpochHeard(epoch)));
        self.fold(myself, RoleInput::Owned(PoolInput::Reports(stream, reports)));
    }

    fn streamed(&mut self, myself: &PoolOwnerRef, event: Event) {
        match event {
            Event::Opened { stream, tell, .. } => {
                self.aggregators.insert(stream, tell);
                self.fold(myself, RoleInput::FollowerEvent(stream, FollowerEvent::Connected));
            }
            Event::Said { stream, said, permit } => {
                self.fold(myself, RoleInput::FollowerEvent(stream, FollowerEvent::Said(said)));
                drop(permit);
            }
            Event::Closed { stream } => {
                self.aggregators.remove(&stream);
                self.fold(myself, RoleInput::FollowerEvent(stream, FollowerEvent::Disconnected));
            }
        }
    }

    fn perform(&mut self, myself: &PoolOwnerRef, effect: RoleEffect) {
        let Setup { membership, board, levels, .. } = &self.setup;
        match effect {
            RoleEffect::Pool(effect) => self.perform_owners(effect),
            RoleEffect::Tell(aggregator, said) => {
                if let Some(tell) = self.aggregators.get(&aggregator) {
                    tell.say(said);
                }
            }
            RoleEffect::Claim { above } => claims::claim(membership, &board.pool, above, myself),
            RoleEffect::Release => claims::release(membership, &board.pool),
            RoleEffect::Stands(standing) => self.stands(standing),
            RoleEffect::Stirred => board.stir(self.role.epoch()),
            RoleEffect::Missed(gap) => {
                levels.gaps.inc();
                tracing::debug!(pool = %board.pool, %gap, "a frame of the owner could not be taken");
            }
            RoleEffect::Replaced => {
                tracing::info!(pool = %board.pool, version = %self.role.version().unwrap_or_default(), "snapshot taken")
            }
        }
    }

    fn perform_owners(&mut self, effect: PoolEffect) {
        match effect {
            PoolEffect::Published(version) => self.setup.board.stir(version.epoch),
            PoolEffect::Assign(stream, endpoints) => {
                if let Some(assignment) = self.collectors.get(&stream) {
                    tracing::info!(collector = stream.0, endpoints = endpoints.len(), "endpoints assigned");
                    assignment.send_replace(endpoints);
                }
            }
            // Without its sender the stream ends.
            PoolEffect::Dropped(stream) => {
                tracing::warn!(
                    collector = stream.0,
                    "the collector is silent, and its endpoints go to others"
                );
                self.setup.levels.collectors_dropped.inc();
                self.collectors.remove(&stream);
            }
            PoolEffect::Count(noted) => self.setup.levels.note(noted),
            PoolEffect::NeedChain(..) | PoolEffect::Expired(_) | PoolEffect::Outranked(_) => {}
        }
    }

    fn stands(&mut self, standing: RoleStatus) {
        let Setup { board, levels, .. } = &self.setup;
        let version = self.role.version().unwrap_or_default();
        match standing {
            RoleStatus::Owner(epoch) => {
                levels.takeovers.inc();
                tracing::info!(pool = %board.pool, epoch, %version, "owns the pool");
            }
            RoleStatus::TakingOver(epoch) => {
                tracing::info!(pool = %board.pool, epoch, %version, "is about to own the pool")
            }
            RoleStatus::Standby => {
                tracing::info!(pool = %board.pool, %version, "follows the pool");
                self.collectors.clear();
            }
        }
        board.stand(standing);
    }

    fn answer(&mut self, ask: FollowerPoll) -> PollReply {
        let answer = self.role.answer(self.now_ms(), ask);
        if matches!(answer, PollReply::Snapshot(_)) {
            self.setup.levels.snapshots.inc();
        }
        answer
    }

    /// One that ends may go when the next owner is heard, or nobody is there to be the next.
    fn finish_draining(&mut self) {
        let is_done = |since: &Instant| {
            self.aggregators.is_empty() || self.role.hears_owner(self.now_ms()) || since.elapsed() >= LINGER
        };
        if self.draining.as_ref().is_some_and(|(since, _)| is_done(since))
            && let Some((_, port)) = self.draining.take()
        {
            let _ = port.send(());
        }
    }
}
