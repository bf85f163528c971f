//! `PoolSteward`: the serialization point of a pool, and its follower while another aggregator owns it. One message, one fold,
//! then its effects.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use signalbox_peers::{Event, Tell};
use signalbox_state::{
    Ask, Assigned, Claimed, CollectorStream, Effect, Feedback, FromFollower, Heard, Input, Report, Seat,
    SeatAnswer, SeatConfig, SeatEffect, SeatInput, Seen, Standing,
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
    CollectorJoined { stream: CollectorStream, name: String, assignment: watch::Sender<Vec<Assigned>> },
    CollectorLeft(CollectorStream),
    Reported(Reported, OwnedSemaphorePermit),
    Fed { feedback: Feedback, replies: mpsc::Sender<Reply>, permit: OwnedSemaphorePermit },
    Asked(Ask, RpcReplyPort<SeatAnswer>),
    Followed { follower: u64, name: String },
    Told { follower: u64, told: FromFollower, permit: OwnedSemaphorePermit },
    Unfollowed(u64),
    Streamed(Event),
    Seen(Seen),
    Candidates(Vec<String>),
    Claimed(Claimed),
    Drain(RpcReplyPort<()>),
    Ticked,
}

pub(crate) type StewardRef = ActorRef<Message>;

/// What a steward is started with.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) config: SeatConfig,
    pub(crate) specs: watch::Receiver<PoolSpec>,
    pub(crate) peers: signalbox_peers::Settings,
    pub(crate) membership: Membership,
    pub(crate) board: Arc<Board>,
    pub(crate) levels: Arc<Levels>,
}

#[derive(Debug)]
pub(crate) struct PoolSteward;

pub(crate) struct State {
    seat: Seat,
    setup: Setup,
    started: Instant,
    collectors: BTreeMap<CollectorStream, watch::Sender<Vec<Assigned>>>,
    aggregators: BTreeMap<u64, Tell>,
    draining: Option<(Instant, RpcReplyPort<()>)>,
}

impl Actor for PoolSteward {
    type Msg = Message;
    type State = State;
    type Arguments = Setup;

    async fn pre_start(&self, myself: StewardRef, setup: Setup) -> Result<State, ActorProcessingErr> {
        let mut specs = setup.specs.clone();
        let seat = Seat::new(setup.config.clone(), specs.borrow_and_update().clone());
        let (steward, listener) = (myself.clone(), myself.clone());
        tokio::spawn(async move {
            while specs.changed().await.is_ok() {
                let spec = specs.borrow_and_update().clone();
                if steward.cast(Message::Respecified(spec)).is_err() {
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
        Ok(State { seat, setup, started, collectors, aggregators, draining: None })
    }

    async fn handle(
        &self,
        myself: StewardRef,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Respecified(spec) => state.fold(&myself, SeatInput::Spec(spec)),
            Message::CollectorJoined { stream, name, assignment } => {
                state.collectors.insert(stream, assignment);
                state.fold(&myself, SeatInput::Owned(Input::CollectorJoined(stream, name)));
            }
            Message::CollectorLeft(stream) => {
                state.collectors.remove(&stream);
                state.fold(&myself, SeatInput::Owned(Input::CollectorLeft(stream)));
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
                state.fold(&myself, SeatInput::Followed(follower, name));
            }
            Message::Told { follower, told, permit } => {
                state.fold(&myself, SeatInput::Told(follower, told));
                drop(permit);
            }
            Message::Unfollowed(follower) => state.fold(&myself, SeatInput::Unfollowed(follower)),
            Message::Streamed(event) => state.streamed(&myself, event),
            Message::Seen(seen) => state.fold(&myself, SeatInput::Seen(seen)),
            Message::Candidates(names) => state.fold(&myself, SeatInput::Candidates(names)),
            Message::Claimed(claimed) => state.fold(&myself, SeatInput::Claimed(claimed)),
            Message::Drain(port) => {
                state.draining = Some((Instant::now(), port));
                state.fold(&myself, SeatInput::Drain);
            }
            Message::Ticked => {
                state.fold(&myself, SeatInput::Tick);
                state.finish_draining();
                state.setup.levels.show(&state.seat, state.now_ms());
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

    fn fold(&mut self, myself: &StewardRef, input: SeatInput) {
        for effect in self.seat.fold(self.now_ms(), input) {
            self.perform(myself, effect);
        }
    }

    fn fed(&mut self, myself: &StewardRef, feedback: Feedback, replies: &mpsc::Sender<Reply>) {
        for effect in self.seat.fold(self.now_ms(), SeatInput::Owned(Input::Feedback(feedback))) {
            let reply = match effect {
                SeatEffect::Pool(Effect::NeedChain(_, number)) => {
                    self.setup.levels.chains_asked.inc();
                    Reply::NeedChain(number)
                }
                SeatEffect::Pool(Effect::Expired(origin)) => Reply::Expired(origin),
                effect => {
                    self.perform(myself, effect);
                    continue;
                }
            };
            // A replica that reads no replies is slow or gone; what it is not asked for it loses.
            let _ = replies.try_send(reply);
        }
    }

    fn reported(&mut self, myself: &StewardRef, reported: Reported) {
        let Reported { stream, epoch, reports } = reported;
        self.fold(myself, SeatInput::Owned(Input::EpochHeard(epoch)));
        self.fold(myself, SeatInput::Owned(Input::Reports(stream, reports)));
    }

    fn streamed(&mut self, myself: &StewardRef, event: Event) {
        match event {
            Event::Opened { stream, tell, .. } => {
                self.aggregators.insert(stream, tell);
                self.fold(myself, SeatInput::Heard(stream, Heard::Connected));
            }
            Event::Said { stream, said, permit } => {
                self.fold(myself, SeatInput::Heard(stream, Heard::Said(said)));
                drop(permit);
            }
            Event::Closed { stream } => {
                self.aggregators.remove(&stream);
                self.fold(myself, SeatInput::Heard(stream, Heard::Disconnected));
            }
        }
    }

    fn perform(&mut self, myself: &StewardRef, effect: SeatEffect) {
        let Setup { membership, board, levels, .. } = &self.setup;
        match effect {
            SeatEffect::Pool(effect) => self.perform_owners(effect),
            SeatEffect::Tell(aggregator, said) => {
                if let Some(tell) = self.aggregators.get(&aggregator) {
                    tell.say(said);
                }
            }
            SeatEffect::Claim { above } => claims::claim(membership, &board.pool, above, myself),
            SeatEffect::Release => claims::release(membership, &board.pool),
            SeatEffect::Stands(standing) => self.stands(standing),
            SeatEffect::Stirred => board.stir(self.seat.epoch()),
            SeatEffect::Missed(gap) => {
                levels.gaps.inc();
                tracing::debug!(pool = %board.pool, %gap, "a frame of the owner could not be taken");
            }
            SeatEffect::Replaced => {
                tracing::info!(pool = %board.pool, version = %self.seat.version().unwrap_or_default(), "snapshot taken")
            }
        }
    }

    fn perform_owners(&mut self, effect: Effect) {
        match effect {
            Effect::Published(version) => self.setup.board.stir(version.epoch),
            Effect::Assign(stream, endpoints) => {
                if let Some(assignment) = self.collectors.get(&stream) {
                    tracing::info!(collector = stream.0, endpoints = endpoints.len(), "endpoints assigned");
                    assignment.send_replace(endpoints);
                }
            }
            // Without its sender the stream ends.
            Effect::Dropped(stream) => {
                tracing::warn!(
                    collector = stream.0,
                    "the collector is silent, and its endpoints go to others"
                );
                self.setup.levels.collectors_dropped.inc();
                self.collectors.remove(&stream);
            }
            Effect::Noted(noted) => self.setup.levels.note(noted),
            Effect::NeedChain(..) | Effect::Expired(_) | Effect::Outranked(_) => {}
        }
    }

    fn stands(&mut self, standing: Standing) {
        let Setup { board, levels, .. } = &self.setup;
        let version = self.seat.version().unwrap_or_default();
        match standing {
            Standing::Owner(epoch) => {
                levels.takeovers.inc();
                tracing::info!(pool = %board.pool, epoch, %version, "owns the pool");
            }
            Standing::Heir(epoch) => {
                tracing::info!(pool = %board.pool, epoch, %version, "is about to own the pool")
            }
            Standing::Standby => {
                tracing::info!(pool = %board.pool, %version, "follows the pool");
                self.collectors.clear();
            }
        }
        board.stand(standing);
    }

    fn answer(&mut self, ask: Ask) -> SeatAnswer {
        let answer = self.seat.answer(self.now_ms(), ask);
        if matches!(answer, SeatAnswer::Snapshot(_)) {
            self.setup.levels.snapshots.inc();
        }
        answer
    }

    /// One that ends may go when the next owner is heard, or nobody is there to be the next.
    fn finish_draining(&mut self) {
        let is_done = |since: &Instant| {
            self.aggregators.is_empty() || self.seat.hears_owner(self.now_ms()) || since.elapsed() >= LINGER
        };
        if self.draining.as_ref().is_some_and(|(since, _)| is_done(since))
            && let Some((_, port)) = self.draining.take()
        {
            let _ = port.send(());
        }
    }
}
