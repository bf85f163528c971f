//! `ViewKeeper`: hears all aggregators, keeps the replica of the pool's state, shows it to requests as a view, and offers it to an
//! aggregator that is about to own the pool.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use signalbox_peers::{Event, Listening, Tell};
use signalbox_state::{Bounds, Follower, Following, Gap, Heard, Source, Todo};
use tokio::sync::watch;
use tonic::transport::Channel;

use super::uplink::{self, UplinkRef};
use crate::desk::Desk;
use crate::sight::Sight;

/// How much of the pool's history is kept to be offered: what a new owner may lack is less than a second of it.
const HISTORY: Bounds = Bounds { keep_bytes: 1 << 20, keep_pinned_bytes: 1 << 20 };

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
    pub(crate) desk: Arc<Desk>,
    pub(crate) peers: signalbox_peers::Settings,
    pub(crate) owner: Arc<watch::Sender<Owner>>,
    pub(crate) ready: Arc<watch::Sender<bool>>,
    pub(crate) uplink: UplinkRef,
}

#[derive(Debug)]
pub(crate) struct ViewKeeper;

pub(crate) struct State {
    desk: Arc<Desk>,
    owner: Arc<watch::Sender<Owner>>,
    ready: Arc<watch::Sender<bool>>,
    uplink: UplinkRef,
    following: Following,
    aggregators: BTreeMap<u64, (Tell, Channel)>,
    acknowledged: u64,
}

impl Actor for ViewKeeper {
    type Msg = Message;
    type State = State;
    type Arguments = Setup;

    async fn pre_start(&self, myself: KeeperRef, setup: Setup) -> Result<State, ActorProcessingErr> {
        let Setup { desk, peers, owner, ready, uplink } = setup;
        myself.send_after(LOOK, || Message::Look);
        tokio::spawn(signalbox_peers::follow(peers, move |event| {
            match myself.cast(Message::Streamed(event)) {
                Ok(()) => Listening::On,
                Err(_) => Listening::Over,
            }
        }));
        Ok(State {
            desk,
            owner,
            ready,
            uplink,
            following: Following::new(Follower::new(HISTORY)),
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
                state.desk.metrics.digest(&state.following.follower().replica().picture().digest());
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
                self.hear(stream, Heard::Connected);
            }
            Event::Said { stream, said, permit } => {
                self.hear(stream, Heard::Said(said));
                drop(permit);
            }
            Event::Closed { stream } => {
                self.aggregators.remove(&stream);
                self.hear(stream, Heard::Disconnected);
            }
        }
        self.desk.metrics.connected.set(self.aggregators.len() as u64);
    }

    fn hear(&mut self, stream: u64, heard: Heard) {
        for todo in self.following.hear(self.desk.now_ms(), Source::Aggregator(stream), heard) {
            match todo {
                Todo::Tell(Source::Aggregator(stream), said) => {
                    if let Some((tell, _)) = self.aggregators.get(&stream) {
                        tell.say(said);
                    }
                }
                Todo::Tell(Source::Follower(_), _) => {}
                Todo::Moved => self.show(),
                Todo::Replaced => self.replaced(),
                Todo::Missed(gap) => self.missed(&gap),
            }
        }
        self.look();
    }

    /// Feedback goes to whoever owns the pool.
    fn look(&mut self) {
        let owner = self.following.owner(self.desk.now_ms());
        self.desk.owner_heard(self.following.epoch(), owner.is_some());
        let Some((Source::Aggregator(stream), _)) = owner else {
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
        self.desk.metrics.snapshots.inc();
        self.show();
        self.ready.send_replace(true);
    }

    fn show(&mut self) {
        let (now_ms, replica) = (self.desk.now_ms(), self.following.follower().replica());
        let before = self.desk.sight.load();
        let next = Sight::next(&before, replica, &self.desk.bookings, now_ms);
        if next.view.members.len() < before.view.members.len() {
            self.desk.bookings.retain(|endpoint| next.view.position(endpoint).is_some());
        }
        drop(before);
        self.desk.sight.store(Arc::new(next));
        let acknowledged = replica.picture().acknowledged(self.desk.origin());
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
        self.desk.metrics.gap(kind);
        let version = self.following.follower().replica().version().unwrap_or_default();
        match gap {
            // A new owner's first frame, or one that overtook another.
            Gap::Order | Gap::Snapshot => tracing::debug!(%gap, %version, "a frame could not be taken"),
            Gap::Change(_) | Gap::Digest(_) => {
                self.desk.metrics.diverged();
                tracing::error!(%gap, %version, "the state differs from the owner's, and is asked for anew");
            }
        }
    }
}
