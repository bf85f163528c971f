//! `ViewKeeper`: takes frames, keeps the replica of the pool's state, and shows it to requests as a view.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use signalbox_protos::signalbox::v1::Cursor;
use signalbox_state::{Frame, Gap, Outcome, Replica, Source};
use signalbox_types::PeerAddress;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::task::JoinHandle;
use tonic::transport::Channel;

use super::downlink;
use super::uplink::{self, UplinkRef};
use crate::desk::Desk;
use crate::sight::Sight;

/// The owner is asked again for what is missing at most so often.
const ASK_AGAIN: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(crate) enum Message {
    Connected(mpsc::Sender<Cursor>),
    Framed(Frame, OwnedSemaphorePermit),
    Disconnected,
}

pub(crate) type KeeperRef = ActorRef<Message>;

#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) desk: Arc<Desk>,
    pub(crate) aggregators: Vec<PeerAddress>,
    pub(crate) channel: Arc<watch::Sender<Option<Channel>>>,
    pub(crate) ready: Arc<watch::Sender<bool>>,
    pub(crate) uplink: UplinkRef,
}

#[derive(Debug)]
pub(crate) struct ViewKeeper;

pub(crate) struct State {
    desk: Arc<Desk>,
    ready: Arc<watch::Sender<bool>>,
    uplink: UplinkRef,
    replica: Replica,
    cursors: Option<mpsc::Sender<Cursor>>,
    asked_at: Option<Instant>,
    acknowledged: u64,
    downlink: JoinHandle<()>,
}

impl Actor for ViewKeeper {
    type Msg = Message;
    type State = State;
    type Arguments = Setup;

    async fn pre_start(&self, myself: KeeperRef, setup: Setup) -> Result<State, ActorProcessingErr> {
        let Setup { desk, aggregators, channel, ready, uplink } = setup;
        let downlink = tokio::spawn(downlink::follow(aggregators, myself, channel));
        Ok(State {
            desk,
            ready,
            uplink,
            replica: Replica::default(),
            cursors: None,
            asked_at: None,
            acknowledged: 0,
            downlink,
        })
    }

    async fn handle(
        &self,
        _myself: KeeperRef,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Connected(cursors) => state.connected(cursors),
            Message::Framed(frame, permit) => {
                state.take(frame);
                drop(permit);
            }
            Message::Disconnected => {
                state.cursors = None;
                state.desk.metrics.connected.set(0);
            }
        }
        Ok(())
    }

    async fn post_stop(&self, _myself: KeeperRef, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.downlink.abort();
        Ok(())
    }
}

impl State {
    fn connected(&mut self, cursors: mpsc::Sender<Cursor>) {
        self.replica.disconnected(Source::Aggregator(0));
        self.cursors = Some(cursors);
        self.desk.metrics.connected.set(1);
        self.ask();
    }

    fn take(&mut self, frame: Frame) {
        let shows_nothing = matches!(frame, Frame::Init { .. } | Frame::Entry(_));
        match self.replica.apply(Source::Aggregator(0), frame) {
            Outcome::Applied if shows_nothing => {}
            Outcome::Applied => self.show(),
            Outcome::Reset => {
                let format = self.replica.format();
                tracing::info!(version = %self.replica.version().unwrap_or_default(), "snapshot taken");
                if !format.is_known() {
                    tracing::warn!(
                        ?format,
                        "the pool hashes prompts otherwise; it is decided without cached prefixes"
                    );
                }
                self.asked_at = None;
                self.show();
                self.ready.send_replace(true);
            }
            Outcome::Stale => {}
            Outcome::Gap(gap) => self.fill(&gap),
        }
    }

    fn show(&mut self) {
        let now_ms = self.desk.now_ms();
        let before = self.desk.sight.load();
        let next = Sight::next(&before, &self.replica, &self.desk.bookings, now_ms);
        if next.view.members.len() < before.view.members.len() {
            self.desk.bookings.retain(|endpoint| next.view.position(endpoint).is_some());
        }
        drop(before);
        self.desk.sight.store(Arc::new(next));
        let acknowledged = self.replica.picture().acknowledged(self.desk.origin());
        if acknowledged != self.acknowledged {
            self.acknowledged = acknowledged;
            // An uplink that is gone is being started anew and sends all again.
            let _ = self.uplink.cast(uplink::Message::Acknowledged(acknowledged));
        }
    }

    fn fill(&mut self, gap: &Gap) {
        let kind = match gap {
            Gap::Order => "order",
            Gap::Snapshot => "snapshot",
            Gap::Change(_) => "change",
            Gap::Digest(_) => "digest",
        };
        self.desk.metrics.gap(kind);
        if self.asked_at.is_some_and(|asked_at| asked_at.elapsed() < ASK_AGAIN) {
            return;
        }
        tracing::warn!(%gap, version = %self.replica.version().unwrap_or_default(), "frames are missing and asked for again");
        self.ask();
    }

    fn ask(&mut self) {
        self.asked_at = Some(Instant::now());
        if let Some(cursors) = &self.cursors {
            // When four cursors wait the stream is stuck, and its silence ends it.
            let _ = cursors.try_send(signalbox_wire::cursor(self.replica.cursor()));
        }
    }
}
