//! `ViewKeeper`: hears all aggregators, keeps the replica of the pool's state, shows it to requests as a view, and offers it to an
//! aggregator that is about to own the pool.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use signalbox_peers::{Event, Listening, Tell};
use signalbox_state::{
    Follower, FollowerEffect, FollowerEvent, FrameSource, Gap, JournalBounds, JournaledReplica,
};
use tokio::sync::watch;
use tonic::transport::Channel;

use super::uplink::{self, UplinkRef};
use crate::decision_snapshot::DecisionSnapshot;
use crate::picker::Picker;

/// How much of the pool's history is kept to be offered: what a new owner may lack is less than a second of it.
const HISTORY: JournalBounds = JournalBounds { keep_bytes: 1 << 20, keep_pinned_bytes: 1 << 20 };

/// How often the keeper looks who owns the pool.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) enum Message {
    Streamed(Event),
    Look,
}

pub(crate) type KeeperRef = ActorRef<Message>;

/// The connection to the aggregator that owns the pool, and which of the streams it is.
pub(crate) type Owner = Option<(u64, Channel)>;

#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) picker: Arc<Picker>,
    pub(crate) peers: signalbox_peers::Settings,
    pub(crate) owner: Arc<watch::Sender<Owner>>,
    pub(crate) ready: Arc<watch::Sender<bool>>,
    pub(crate) uplink: UplinkRef,
}

#[derive(Debug)]
pub(crate) struct ViewKeeper;

pub(crate) struct State {
    picker: Arc<Picker>,
    owner: Arc<watch::Sender<Owner>>,
    ready: Arc<watch::Sender<bool>>,
    uplink: UplinkRef,
    following: Follower,
    aggregators: BTreeMap<u64, (Tell, Channel)>,
    acknowledged: u64,
}

impl Actor for ViewKeeper {
    type Msg = Message;
    type State = State;
    type Arguments = Setup;

    async fn pre_start(&self, myself: KeeperRef, setup: Setup) -> Result<State, ActorProcessingErr> {
        let Setup { picker, peers, owner, ready, uplink } = setup;
        myself.send_after(LOOK, || Message::Look);
        tokio::spawn(signalbox_peers::follow(peers, move |event| {
            match myself.cast(Message::Streamed(event)) {
                Ok(()) => Listening::On,
                Err(_) => Listening::Over,
            }
        }));
        Ok(State {
            picker,
            owner,
            ready,
            uplink,
            following: Follower::new(JournaledReplica::new(HISTORY)),
            aggregators: BTreeMap::new(),
            acknowledged: 0,
        })
    }

    async fn handle(
        &self,
        myself: KeeperRef,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Streamed(event) => state.streamed(event),
            Message::Look => {
                state.look();
                state.picker.metrics.digest(&state.following.follower().replica().pool_state().digest());
                myself.send_after(LOOK, || Message::Look);
            }
        }
        Ok(())
    }
}

impl State {
    fn streamed(&mut self, event: Event) {
        match event {
            Event::Opened { stream, channel, tell, .. } => {
                self.aggregators.insert(stream, (tell, channel));
                self.hear(stream, FollowerEvent::Connected);
            }
            Event::Said { stream, said, permit } => {
                self.hear(stream, FollowerEvent::Said(said));
                drop(permit);
            }
            Event::Closed { stream } => {
                self.aggregators.remove(&stream);
                self.hear(stream, FollowerEvent::Disconnected);
            }
        }
        self.picker.metrics.connected.set(self.aggregators.len() as u64);
    }

    fn hear(&mut self, stream: u64, heard: FollowerEvent) {
        for todo in self.following.hear(self.picker.now_ms(), FrameSource::Aggregator(stream), heard) {
            match todo {
                FollowerEffect::Tell(FrameSource::Aggregator(stream), said) => {
                    if let Some((tell, _)) = self.aggregators.get(&stream) {
                        tell.say(said);
                    }
                }
                FollowerEffect::Tell(FrameSource::JournaledReplica(_), _) => {}
                FollowerEffect::Moved => self.show(),
                FollowerEffect::Replaced => self.replaced(),
                FollowerEffect::Missed(gap) => self.missed(&gap),
            }
        }
        self.look();
    }

    /// Feedback goes to whoever owns the pool.
    fn look(&mut self) {
        let owner = self.following.owner(self.picker.now_ms());
        self.picker.owner_heard(self.following.epoch(), owner.is_some());
        let Some((FrameSource::Aggregator(stream), _)) = owner else {
            self.owner.send_if_modified(|owner| owner.take().is_some());
            return;
        };
        let Some((_, channel)) = self.aggregators.get(&stream) else { return };
        self.owner.send_if_modified(|owner| {
            let is_news = owner.as_ref().is_none_or(|(known, _)| *known != stream);
            if is_news {
                *owner = Some((stream, channel.clone()));
            }
            is_news
        });
    }

    fn replaced(&mut self) {
        let replica = self.following.follower().replica();
        let format = replica.format();
        tracing::info!(version = %replica.version().unwrap_or_default(), "snapshot taken");
        if !format.is_known() {
            tracing::warn!(
                ?format,
                "the pool hashes prompts otherwise; it is decided without cached prefixes"
            );
        }
        self.picker.metrics.snapshots.inc();
        self.show();
        self.ready.send_replace(true);
    }

    fn show(&mut self) {
        let (now_ms, replica) = (self.picker.now_ms(), self.following.follower().replica());
        let before = self.picker.snapshot.load();
        let next = DecisionSnapshot::next(&before, replica, &self.picker.bookings, now_ms);
        if next.view.endpoints.len() < before.view.endpoints.len() {
            self.picker.bookings.retain(|endpoint| next.view.position(endpoint).is_some());
        }
        drop(before);
        self.picker.snapshot.store(Arc::new(next));
        let acknowledged = replica.pool_state().acknowledged(self.picker.origin());
        if acknowledged != self.acknowledged {
            self.acknowledged = acknowledged;
            // An uplink that is gone is being started anew and sends all again.
            let _ = self.uplink.cast(uplink::Message::Acknowledged(acknowledged));
        }
    }

    fn missed(&self, gap: &Gap) {
        let kind = match gap {
            Gap::Order => "order",
            Gap::Snapshot => "snapshot",
            Gap::Change(_) => "change",
            Gap::Digest(_) => "digest",
        };
        self.picker.metrics.gap(kind);
        let version = self.following.follower().replica().version().unwrap_or_default();
        match gap {
            // A new owner's first frame, or one that overtook another.
            Gap::Order | Gap::Snapshot => tracing::debug!(%gap, %version, "a frame could not be taken"),
            Gap::Change(_) | Gap::Digest(_) => {
                self.picker.metrics.diverged();
                tracing::error!(%gap, %version, "the state differs from the owner's, and is asked for anew");
            }
        }
    }
}
