//! `PoolOwner`: the serialization point of a pool. One message, one fold, then its effects.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use signalbox_state::{
    Assigned, CatchUp, CollectorStream, Effect, Feedback, Frame, Input, Pool, PoolConfig, Report, Snapshot,
};
use signalbox_types::{PoolSpec, Version};
use signalbox_wire::Reply;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use crate::epoch::Epochs;
use crate::metrics::Metrics;

/// How often the owner looks at the time.
const TICK: Duration = Duration::from_millis(50);

/// Snapshots that may be on their way at once.
const SNAPSHOTS_AT_ONCE: usize = 4;

/// Whether a follower's stream is due for a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    Changes,
    ChangesAndBeat,
}

/// A follower asks what comes after its cursor.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) subscriber: u64,
    pub(crate) cursor: Version,
    pub(crate) want: Want,
}

/// What a follower gets.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It has all there is; the beat, if one was wanted.
    Current(Option<Frame>),
    /// This frame, and then it shall ask again.
    Frame(Frame),
    /// This snapshot, and then it shall ask again.
    Snapshot(Arc<Snapshot>),
    /// Nothing yet: it shall ask again a little later.
    Later,
}

/// What is said to the owner. Traffic from outside carries a permit, which bounds the mailbox.
#[derive(Debug)]
pub(crate) enum Message {
    Respecified(PoolSpec),
    CollectorJoined { stream: CollectorStream, name: String, assignment: watch::Sender<Vec<Assigned>> },
    CollectorLeft(CollectorStream),
    Reported { stream: CollectorStream, epoch: u64, reports: Vec<Report>, permit: OwnedSemaphorePermit },
    Fed { feedback: Feedback, replies: mpsc::Sender<Reply>, permit: OwnedSemaphorePermit },
    Asked(Ask, RpcReplyPort<Answer>),
    Unsubscribed(u64),
    Ticked,
}

pub(crate) type OwnerRef = ActorRef<Message>;

/// What an owner is started with.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) config: PoolConfig,
    pub(crate) specs: watch::Receiver<PoolSpec>,
    pub(crate) epochs: Arc<Epochs>,
    pub(crate) head: Arc<watch::Sender<Version>>,
    pub(crate) metrics: Arc<Metrics>,
}

#[derive(Debug)]
pub(crate) struct PoolOwner;

pub(crate) struct State {
    pool: Pool,
    started: Instant,
    epochs: Arc<Epochs>,
    head: Arc<watch::Sender<Version>>,
    metrics: Arc<Metrics>,
    collectors: BTreeMap<CollectorStream, watch::Sender<Vec<Assigned>>>,
    latest_snapshot: Option<Arc<Snapshot>>,
}

impl Actor for PoolOwner {
    type Msg = Message;
    type State = State;
    type Arguments = Setup;

    async fn pre_start(&self, myself: OwnerRef, setup: Setup) -> Result<State, ActorProcessingErr> {
        let Setup { config, mut specs, epochs, head, metrics } = setup;
        let pool = Pool::new(epochs.next(), config);
        let started = Instant::now();
        let collectors = BTreeMap::new();
        let mut state = State { pool, started, epochs, head, metrics, collectors, latest_snapshot: None };
        let spec = specs.borrow_and_update().clone();
        state.fold(Input::Spec(spec));
        state.head.send_replace(state.pool.journal().head());
        let owner = myself.clone();
        tokio::spawn(async move {
            while specs.changed().await.is_ok() {
                let spec = specs.borrow_and_update().clone();
                if owner.cast(Message::Respecified(spec)).is_err() {
                    break;
                }
            }
        });
        myself.send_after(TICK, || Message::Ticked);
        Ok(state)
    }

    async fn handle(
        &self,
        myself: OwnerRef,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Respecified(spec) => drop(state.fold(Input::Spec(spec))),
            Message::CollectorJoined { stream, name, assignment } => {
                state.collectors.insert(stream, assignment);
                state.fold(Input::CollectorJoined(stream, name));
            }
            Message::CollectorLeft(stream) => {
                state.collectors.remove(&stream);
                state.fold(Input::CollectorLeft(stream));
            }
            Message::Reported { stream, epoch, reports, permit } => {
                state.fold(Input::EpochHeard(epoch));
                state.fold(Input::Reports(stream, reports));
                drop(permit);
            }
            Message::Fed { feedback, replies, permit } => {
                for reply in state.fold(Input::Feedback(feedback)) {
                    // A replica that reads no replies is slow or gone; what it is not asked for it loses.
                    let _ = replies.try_send(reply);
                }
                drop(permit);
            }
            Message::Asked(ask, port) => {
                let answer = state.answer(&ask);
                // The stream that asked may be gone.
                let _ = port.send(answer);
            }
            Message::Unsubscribed(subscriber) => state.pool.journal_mut().unpin(subscriber),
            Message::Ticked => {
                state.fold(Input::Tick);
                state.metrics.show(&state.pool);
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

    /// Folds one input, performs the effects, and returns what is to be said to the replica that spoke.
    fn fold(&mut self, input: Input) -> Vec<Reply> {
        let mut replies = Vec::new();
        for effect in self.pool.fold(self.now_ms(), input) {
            match effect {
                Effect::Published(version) => drop(self.head.send_replace(version)),
                Effect::Assign(stream, endpoints) => self.assign(stream, endpoints),
                Effect::Dropped(stream) => drop(self.collectors.remove(&stream)),
                Effect::NeedChain(_, number) => replies.push(Reply::NeedChain(number)),
                Effect::Expired(_) => replies.push(Reply::Expired),
                Effect::Outranked(epoch) => self.outrank(epoch),
            }
        }
        replies
    }

    fn assign(&self, stream: CollectorStream, endpoints: Vec<Assigned>) {
        if let Some(assignment) = self.collectors.get(&stream) {
            tracing::info!(collector = stream.0, endpoints = endpoints.len(), "endpoints assigned");
            assignment.send_replace(endpoints);
        }
    }

    /// There is no other owner; somebody remembers an epoch from before this process's clock was set.
    fn outrank(&mut self, heard: u64) {
        self.epochs.heard(heard);
        self.pool.turn(self.epochs.next());
        let head = self.pool.journal().head();
        tracing::info!(heard, epoch = head.epoch, "a later epoch was heard of, and is outranked");
        self.head.send_replace(head);
    }

    fn answer(&mut self, ask: &Ask) -> Answer {
        let Ask { subscriber, cursor, want } = *ask;
        let answer = match self.pool.journal().since(cursor) {
            CatchUp::Current => Answer::Current((want == Want::ChangesAndBeat).then(|| self.beat())),
            CatchUp::Frame(frame) => Answer::Frame(frame),
            CatchUp::Snapshot => return self.answer_by_snapshot(subscriber),
            CatchUp::Deposed(epoch) => {
                self.outrank(epoch);
                Answer::Later
            }
        };
        self.pool.journal_mut().unpin(subscriber);
        answer
    }

    fn answer_by_snapshot(&mut self, subscriber: u64) -> Answer {
        self.pool.journal_mut().unpin(subscriber);
        if self.pool.journal().pinned() >= SNAPSHOTS_AT_ONCE {
            return Answer::Later;
        }
        let head = self.pool.journal().head();
        let usable = |snapshot: &&Arc<Snapshot>| {
            snapshot.version.epoch == head.epoch && self.pool.journal().reaches(snapshot.version)
        };
        let snapshot = match self.latest_snapshot.as_ref().filter(usable) {
            Some(snapshot) => Arc::clone(snapshot),
            None => Arc::new(self.pool.snapshot()),
        };
        self.pool.journal_mut().pin(subscriber, snapshot.version.seq);
        self.latest_snapshot = Some(Arc::clone(&snapshot));
        self.metrics.snapshots.inc();
        Answer::Snapshot(snapshot)
    }

    fn beat(&self) -> Frame {
        let Version { epoch, seq } = self.pool.journal().head();
        Frame::Beat { epoch, seq, now_ms: self.now_ms(), digest: self.pool.picture().digest() }
    }
}
