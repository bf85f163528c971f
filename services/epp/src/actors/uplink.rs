//! `Uplink`: sends this replica's bookings and placements to the pool's owner, at once after a pause and then
//! at most every 2 ms.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use signalbox_actors::StreamBackoff;
use signalbox_protos::signalbox::v1::FeedbackBatch;
use signalbox_protos::signalbox::v1::pool_client::PoolClient;
use signalbox_state::{BacklogReporter, FeedbackBatcher, FeedbackReply, FlowReport, GaugeScope};
use signalbox_wire::Hello;
use tokio::sync::{Mutex, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Channel;

use super::owner_connection::OwnerConnection;
use super::request_end_relay::{RequestEndQueue, relay_request_ends};
use crate::deciding::picker::{FeedbackEvent, FeedbackReceivers, Picker};

/// Minimum interval between feedback batches.
const FLUSH_INTERVAL: Duration = Duration::from_millis(2);

/// Interval at which all gauges are sent, changed or not: it shows that the replica is alive and repairs lost
/// batches.
const FULL_FLUSH_INTERVAL: Duration = Duration::from_millis(500);

/// Capacity of the queue of batches to the connection. While it is full, gauges are conflated.
const BATCH_QUEUE: usize = 4;

#[derive(Debug)]
pub(crate) enum Message {
    Connected(mpsc::Sender<FeedbackBatch>),
    Disconnected,
    Flush,
    FlushWhole,
    Replied(FeedbackReply),
    Acknowledged(u64),
}

pub(crate) type UplinkRef = ActorRef<Message>;

/// The queues of placements and feedback events. They are shared, so that a restarted uplink goes on reading
/// them.
pub(crate) type FeedbackQueues = Arc<Mutex<FeedbackReceivers>>;

#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) picker: Arc<Picker>,
    pub(crate) feedback: FeedbackQueues,
    pub(crate) request_ends: RequestEndQueue,
    pub(crate) hello: Hello,
    pub(crate) owner: watch::Receiver<OwnerConnection>,
}

#[derive(Debug)]
pub(crate) struct Uplink;

pub(crate) struct State {
    picker: Arc<Picker>,
    feedback: FeedbackQueues,
    batcher: FeedbackBatcher,
    /// Tells which backlogs to report.
    backlogs: BacklogReporter,
    /// Sent with the first batch of a stream.
    hello: Hello,
    connection: Option<Connection>,
    _tasks: [AbortOnDropHandle<()>; 3],
}

struct Connection {
    batches: mpsc::Sender<FeedbackBatch>,
    /// Whether nothing was sent on the stream yet.
    is_new: bool,
}

impl Actor for Uplink {
    type Msg = Message;
    type State = State;
    type Arguments = Setup;

    async fn pre_start(&self, myself: UplinkRef, setup: Setup) -> Result<State, ActorProcessingErr> {
        let Setup { picker, feedback, request_ends, hello, owner } = setup;
        // Placement numbers restart, so the origin must change; and no acknowledgement can clear an earlier
        // uplink's overlay.
        picker.renew_origin();
        picker.overlay.clear();
        let flushes = tokio::spawn(request_flushes(Arc::clone(&picker), myself.clone()));
        let relay =
            tokio::spawn(relay_request_ends(Arc::clone(&picker), hello.clone(), owner.clone(), request_ends));
        let connections = tokio::spawn(connect_to_owner(Arc::clone(&picker), owner, myself.clone()));
        myself.send_after(FULL_FLUSH_INTERVAL, || Message::FlushWhole);
        let (batcher, backlogs) = (FeedbackBatcher::default(), BacklogReporter::default());
        let tasks = [flushes, connections, relay].map(AbortOnDropHandle::new);
        Ok(State { picker, feedback, batcher, backlogs, hello, connection: None, _tasks: tasks })
    }

    async fn handle(
        &self,
        myself: UplinkRef,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Connected(batches) => {
                state.connection = Some(Connection { batches, is_new: true });
                state.batcher.resend_all();
                state.flush(GaugeScope::All).await;
            }
            Message::Disconnected => {
                state.connection = None;
                state.picker.record_uplink_loss();
            }
            Message::Flush => state.flush(GaugeScope::Changed).await,
            Message::FlushWhole => {
                let expired = state.batcher.expire(state.picker.now_ms(), &state.picker.overlay);
                state.picker.metrics.placements_expired.inc_by(expired as u64);
                state.flush(GaugeScope::All).await;
                state.picker.bookings.remove_unused();
                myself.send_after(FULL_FLUSH_INTERVAL, || Message::FlushWhole);
            }
            Message::Replied(FeedbackReply::NeedChain(number)) => {
                state.batcher.queue_whole_chain(number);
                state.flush(GaugeScope::Changed).await;
            }
            // Batches of the previous origin were still in transit.
            Message::Replied(FeedbackReply::Expired(origin)) if origin != state.picker.origin() => {}
            Message::Replied(FeedbackReply::Expired(_)) => {
                tracing::warn!("the pool dropped this replica's origin; taking a new one");
                state.picker.renew_origin();
                state.picker.metrics.origin_renewals.inc();
                state.batcher.resend_all();
                state.flush(GaugeScope::All).await;
            }
            Message::Acknowledged(number) => state.batcher.acknowledge(number, &state.picker.overlay),
        }
        Ok(())
    }
}

impl State {
    async fn flush(&mut self, scope: GaugeScope) {
        self.collect_feedback().await;
        let Some(connection) = &mut self.connection else { return };
        let Ok(permit) = connection.batches.try_reserve() else {
            self.picker.feedback_ready.notify_one();
            return;
        };
        // Before the bookings: a request that moves on meanwhile counts twice rather than not at all, which would grant its
        // place once more. Nor does one count as revoked that is still booked.
        let flows = flow_report(&self.picker, &mut self.backlogs, scope);
        let changed = self.picker.bookings.take_changed();
        let gauges = match scope {
            GaugeScope::All => self.picker.bookings.loads(),
            GaugeScope::Changed => changed,
        };
        let (epoch, origin) = (self.picker.epoch(), self.picker.origin());
        let arrivals = self.picker.arrivals.counts();
        let batch = self.batcher.next_batch(epoch, origin, scope, gauges, flows, arrivals);
        if self.batcher.has_unsent() {
            self.picker.feedback_ready.notify_one();
        }
        if let Some(feedback) = batch {
            let hello = std::mem::take(&mut connection.is_new).then_some(&self.hello);
            permit.send(signalbox_wire::encode_feedback(hello, feedback));
        }
    }

    async fn collect_feedback(&mut self) {
        let now_ms = self.picker.now_ms();
        let mut feedback = self.feedback.lock().await;
        while self.batcher.has_room()
            && let Ok(placed) = feedback.placements.try_recv()
        {
            self.batcher.add_placement(now_ms, placed);
        }
        while self.batcher.has_room_for_events()
            && let Ok(event) = feedback.events.try_recv()
        {
            match event {
                FeedbackEvent::Response(response) => self.batcher.add_response(response),
                FeedbackEvent::Usage(usage) => self.batcher.add_usage(usage),
                FeedbackEvent::AdapterUsed(endpoint, adapter) => {
                    self.batcher.add_adapter_use(endpoint, adapter)
                }
            }
        }
    }
}

/// Returns what waits here and can be revoked, for a batch.
fn flow_report(picker: &Picker, reporter: &mut BacklogReporter, scope: GaugeScope) -> FlowReport {
    let backlogs = picker.gate.take_backlogs(picker.now_ms());
    let backlogs = reporter.report(scope, backlogs.iter().map(|(flow, backlog)| (flow, *backlog)));
    let revocable = picker.gate.report_revocable(picker.now_ms(), scope);
    let settings = picker.gate.settings().filter(|_| scope == GaugeScope::All);
    FlowReport { backlogs, revocable, settings: settings.map(Arc::clone) }
}

/// Requests a flush whenever there is feedback, at most once per [`FLUSH_INTERVAL`].
async fn request_flushes(picker: Arc<Picker>, uplink: UplinkRef) {
    loop {
        picker.feedback_ready.notified().await;
        if uplink.cast(Message::Flush).is_err() {
            return;
        }
        tokio::time::sleep(FLUSH_INTERVAL).await;
    }
}

/// Keeps a feedback stream to the current owner open and replaces it when the owner changes. An owner that refuses a stream does
/// so at once, and sends replies only if there is something to say: how long a stream lasted tells whether it was accepted.
async fn connect_to_owner(
    picker: Arc<Picker>,
    mut owner: watch::Receiver<OwnerConnection>,
    uplink: UplinkRef,
) {
    let mut backoff = StreamBackoff::default();
    loop {
        let current = match owner.wait_for(Option::is_some).await {
            Ok(current) => current.clone(),
            Err(_) => return,
        };
        let started = Instant::now();
        if let Some((stream, channel)) = current {
            let is_another =
                |owner: &OwnerConnection| owner.as_ref().is_some_and(|(known, _)| *known != stream);
            tokio::select! {
                () = exchange_feedback(&picker, channel, &uplink) => {}
                // Another owner has refused nothing yet.
                _ = owner.wait_for(is_another) => backoff = StreamBackoff::default(),
            }
        }
        if uplink.cast(Message::Disconnected).is_err() {
            return;
        }
        tokio::time::sleep(backoff.delay(started.elapsed(), rand::random())).await;
    }
}

/// Sends feedback on `channel` until the stream ends.
async fn exchange_feedback(picker: &Picker, channel: Channel, uplink: &UplinkRef) {
    let (batches, outbound) = mpsc::channel(BATCH_QUEUE);
    if uplink.cast(Message::Connected(batches)).is_err() {
        return;
    }
    let mut replies = match PoolClient::new(channel).feed(ReceiverStream::new(outbound)).await {
        Ok(response) => response.into_inner(),
        Err(status) => {
            tracing::debug!(%status, "the aggregator refused the feedback stream");
            return;
        }
    };
    picker.record_uplink();
    while let Ok(Some(message)) = replies.message().await {
        match signalbox_wire::decode_feedback_reply(&message) {
            Ok(reply) if uplink.cast(Message::Replied(reply)).is_ok() => {}
            Ok(_) | Err(_) => return,
        }
    }
}
