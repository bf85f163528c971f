//! `ViewKeeper`: follows all aggregators, keeps this replica's copy of the pool state, publishes it to
//! requests as a view, and offers its history to an aggregator that takes the pool over.

mod view_publication;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use signalbox_peers::{ListenerState, StreamEvent, StreamSender};
use signalbox_state::{
    Follower, FollowerEffect, FollowerEvent, FrameSource, Gap, JournalBounds, JournaledReplica,
};
use signalbox_types::{Origin, Version};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Channel;

use self::view_publication::ViewPublication;
use super::owner_connection::OwnerConnection;
use super::uplink::{self, UplinkRef};
use super::waiting_requests::tend_waiting_requests;
use crate::deciding::decision_snapshot::DecisionSnapshot;
use crate::deciding::picker::Picker;

/// How much of a pool's history is kept for a takeover. A new owner may need less than the last second of it,
/// and gets a snapshot if that is no longer kept. The larger the pool, the more changes a second has.
const HISTORY_BYTES_PER_ENDPOINT: usize = 4 << 10;

/// The least and the most history that is kept of a pool.
const HISTORY_BYTES: (usize, usize) = (64 << 10, 1 << 20);

/// How often the pool's owner is checked.
const OWNER_CHECK_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) enum Message {
    StreamEvent(StreamEvent),
    CheckOwner,
    /// Sent by the keeper to itself.
    PublishView,
}

pub(crate) type KeeperRef = ActorRef<Message>;

#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) picker: Arc<Picker>,
    pub(crate) peers: signalbox_peers::FollowSettings,
    pub(crate) owner: Arc<watch::Sender<OwnerConnection>>,
    pub(crate) ready: Arc<watch::Sender<bool>>,
    pub(crate) uplink: UplinkRef,
}

#[derive(Debug)]
pub(crate) struct ViewKeeper;

pub(crate) struct State {
    picker: Arc<Picker>,
    owner: Arc<watch::Sender<OwnerConnection>>,
    ready: Arc<watch::Sender<bool>>,
    uplink: UplinkRef,
    follower: Follower,
    aggregators: BTreeMap<u64, AggregatorStream>,
    /// The latest acknowledgement that the uplink was told, and its origin.
    acknowledged: (Origin, u64),
    publication: ViewPublication,
    /// Number of endpoints for which history is kept.
    history_of: usize,
    /// Version of the state whose digest was last exported.
    digest_at: Option<Version>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

/// A stream to an aggregator.
struct AggregatorStream {
    sender: StreamSender,
    channel: Channel,
    /// Whether a message has arrived. Before, the stream may be only an attempt, which takes up to two seconds where nobody
    /// answers.
    has_answered: bool,
}

impl Actor for ViewKeeper {
    type Msg = Message;
    type State = State;
    type Arguments = Setup;

    async fn pre_start(&self, myself: KeeperRef, setup: Setup) -> Result<State, ActorProcessingErr> {
        let Setup { picker, peers, owner, ready, uplink } = setup;
        let (origin, keeper) = (picker.origin(), myself.clone());
        myself.send_after(OWNER_CHECK_INTERVAL, || Message::CheckOwner);
        let streams = tokio::spawn(signalbox_peers::follow(peers, move |event| {
            match keeper.cast(Message::StreamEvent(event)) {
                Ok(()) => ListenerState::Listening,
                Err(_) => ListenerState::Closed,
            }
        }));
        let waiting = tokio::spawn(tend_waiting_requests(Arc::clone(&picker)));
        Ok(State {
            picker,
            owner,
            ready,
            uplink,
            follower: Follower::new(JournaledReplica::new(history(0))),
            aggregators: BTreeMap::new(),
            acknowledged: (origin, 0),
            publication: ViewPublication::default(),
            history_of: 0,
            digest_at: None,
            _tasks: [streams, waiting].map(AbortOnDropHandle::new),
        })
    }

    async fn handle(
        &self,
        myself: KeeperRef,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::StreamEvent(event) => {
                state.handle_stream_event(event);
                state.request_publication(&myself);
            }
            Message::PublishView if state.publication.is_needed() => state.publish_view(),
            Message::PublishView => {}
            Message::CheckOwner => {
                state.follower.record_time(state.picker.now_ms());
                state.update_owner();
                state.export_digest();
                myself.send_after(OWNER_CHECK_INTERVAL, || Message::CheckOwner);
            }
        }
        Ok(())
    }
}

/// Returns how much history is kept of a pool with so many endpoints.
fn history(endpoints: usize) -> JournalBounds {
    let (least, most) = HISTORY_BYTES;
    let bytes = (endpoints * HISTORY_BYTES_PER_ENDPOINT).clamp(least, most);
    JournalBounds { keep_bytes: bytes, keep_ms: 0, max_bytes: bytes }
}

impl State {
    fn handle_stream_event(&mut self, event: StreamEvent) {
        match event {
            StreamEvent::Opened { stream, channel, sender, .. } => {
                let has_answered = false;
                self.aggregators.insert(stream, AggregatorStream { sender, channel, has_answered });
                self.follow(stream, FollowerEvent::Connected);
            }
            StreamEvent::Received { stream, message, permit } => {
                if let Some(aggregator) = self.aggregators.get_mut(&stream) {
                    aggregator.has_answered = true;
                }
                self.follow(stream, FollowerEvent::Received(message));
                drop(permit);
            }
            StreamEvent::Closed { stream } => {
                self.aggregators.remove(&stream);
                self.follow(stream, FollowerEvent::Disconnected);
            }
        }
        let connected = self.aggregators.values().filter(|aggregator| aggregator.has_answered).count();
        self.picker.metrics.connected_aggregators.set(connected as u64);
    }

    fn follow(&mut self, stream: u64, event: FollowerEvent) {
        for effect in self.follower.handle(self.picker.now_ms(), FrameSource::Aggregator(stream), event) {
            match effect {
                FollowerEffect::Send(FrameSource::Aggregator(stream), message) => {
                    if let Some(aggregator) = self.aggregators.get(&stream) {
                        aggregator.sender.send(message);
                    }
                }
                FollowerEffect::Send(FrameSource::Follower(_), _) => {}
                FollowerEffect::Advanced => self.record_progress(),
                FollowerEffect::SnapshotInstalled => self.handle_snapshot(),
                FollowerEffect::Gap(gap) => self.record_gap(&gap),
                FollowerEffect::EpochRefused(epoch) => self.record_refused_epoch(epoch),
            }
        }
        self.update_owner();
    }

    /// Publishes the connection to the current owner, which receives the feedback.
    fn update_owner(&mut self) {
        let owner = self.follower.owner(self.picker.now_ms());
        self.picker.record_owner_contact(self.follower.epoch(), owner.is_some());
        let Some((FrameSource::Aggregator(stream), _)) = owner else {
            self.owner.send_if_modified(|owner| owner.take().is_some());
            return;
        };
        let Some(AggregatorStream { channel, .. }) = self.aggregators.get(&stream) else { return };
        self.owner.send_if_modified(|owner| {
            let has_changed = owner.as_ref().is_none_or(|(known, _)| *known != stream);
            if has_changed {
                *owner = Some((stream, channel.clone()));
            }
            has_changed
        });
    }

    /// Exports the digest of the state, if the state has changed.
    fn export_digest(&mut self) {
        let replica = self.follower.replica().state_replica();
        if replica.version() != self.digest_at {
            self.digest_at = replica.version();
            self.picker.metrics.set_view_digest(&replica.pool_state().digest());
        }
    }

    fn handle_snapshot(&mut self) {
        let replica = self.follower.replica().state_replica();
        let format = replica.format();
        tracing::info!(version = %replica.version().unwrap_or_default(), "applied a snapshot");
        if !format.is_supported() {
            tracing::warn!(
                ?format,
                "the pool uses an unsupported hash format; deciding without cached prefixes"
            );
        }
        self.picker.metrics.snapshots_applied.inc();
        self.picker.record_view_confirmation();
        self.publish_view();
        self.ready.send_replace(true);
    }

    /// Records that the owner has extended or confirmed the state. A heartbeat confirms it and changes nothing.
    fn record_progress(&mut self) {
        self.picker.record_view_confirmation();
        self.publication.record_state(self.follower.replica().state_replica().version());
    }

    /// Has the view published behind the messages that wait: one view for all of them.
    fn request_publication(&mut self, myself: &KeeperRef) {
        if self.publication.request() {
            // A keeper that stops publishes nothing.
            let _ = myself.cast(Message::PublishView);
        }
    }

    /// Publishes the view of the state.
    fn publish_view(&mut self) {
        let replica = self.follower.replica().state_replica();
        let before = self.picker.snapshot.load();
        let next = DecisionSnapshot::next(&before, replica, &self.picker.bookings);
        let endpoints = next.view.endpoints.len();
        drop(before);
        self.picker.snapshot.store(Arc::new(next));
        self.publication.record_state(replica.version());
        self.publication.record_view();
        self.picker.apply_owner_news();
        self.picker.metrics.views_published.inc();
        let origin = self.picker.origin();
        let acknowledged = replica.pool_state().acknowledged(origin);
        if (origin, acknowledged) != self.acknowledged {
            self.acknowledged = (origin, acknowledged);
            // A failed uplink is about to restart and sends everything again.
            let _ = self.uplink.cast(uplink::Message::Acknowledged(acknowledged));
        }
        if endpoints != self.history_of {
            self.history_of = endpoints;
            self.follower.set_history(history(endpoints));
        }
    }

    fn record_refused_epoch(&self, epoch: u64) {
        self.picker.metrics.count_frame_gap("epoch");
        if self.follower.refused_epochs() == 1 {
            tracing::warn!(epoch, "ignoring an epoch that cannot be genuine");
        }
    }

    fn record_gap(&self, gap: &Gap) {
        let kind = match gap {
            Gap::Order => "order",
            Gap::Snapshot => "snapshot",
            Gap::Change(_) => "change",
            Gap::Digest(_) => "digest",
        };
        self.picker.metrics.count_frame_gap(kind);
        let version = self.follower.replica().state_replica().version().unwrap_or_default();
        match gap {
            // The first frame of a new owner, or frames out of order.
            Gap::Order | Gap::Snapshot => tracing::debug!(%gap, %version, "cannot apply a frame"),
            Gap::Change(_) | Gap::Digest(_) => {
                self.picker.metrics.count_divergence();
                tracing::error!(%gap, %version, "the state differs from the owner's; requesting a snapshot");
            }
        }
    }
}

#[cfg(test)]
mod tests;
