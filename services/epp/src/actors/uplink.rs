//! `Uplink`: tells the pool's owner what this replica has booked and placed. On the leading edge, then every 2 ms.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use signalbox_protos::signalbox::v1::FeedbackBatch;
use signalbox_protos::signalbox::v1::pool_client::PoolClient;
use signalbox_state::{FeedbackBatcher, GaugeScope};
use signalbox_wire::{Hello, Reply};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::view_keeper::Owner;
use crate::picker::{Outgoing, Picker, Remark};
use crate::relay::{Ends, relay};

/// Feedback is sent at most so often.
const PACE: Duration = Duration::from_millis(2);

/// All gauges are sent so often, changed or not: a sign of life that heals what was lost.
const WHOLE_EVERY: Duration = Duration::from_millis(500);

/// Batches that may wait for the connection. Gauges that do not get through are conflated meanwhile.
const BATCHES_WAITING: usize = 4;

/// Wait before a broken stream is opened again.
const REOPEN: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(crate) enum Message {
    Connected(mpsc::Sender<FeedbackBatch>),
    Disconnected,
    Flush,
    FlushWhole,
    Replied(Reply),
    Acknowledged(u64),
}

pub(crate) type UplinkRef = ActorRef<Message>;

/// Where placements and remarks come out. Shared, so that an uplink that is started anew goes on reading it.
pub(crate) type Queue = Arc<Mutex<Outgoing>>;

#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) picker: Arc<Picker>,
    pub(crate) outgoing: Queue,
    pub(crate) ends: Ends,
    pub(crate) hello: Hello,
    pub(crate) owner: watch::Receiver<Owner>,
}

#[derive(Debug)]
pub(crate) struct Uplink;

pub(crate) struct State {
    picker: Arc<Picker>,
    outgoing: Queue,
    feeder: FeedbackBatcher,
    /// Said with the first batch of a stream.
    hello: Hello,
    connection: Option<Connection>,
    tasks: [JoinHandle<()>; 3],
}

struct Connection {
    batches: mpsc::Sender<FeedbackBatch>,
    /// Whether anything was sent on it.
    is_fresh: bool,
}

impl Actor for Uplink {
    type Msg = Message;
    type State = State;
    type Arguments = Setup;

    async fn pre_start(&self, myself: UplinkRef, setup: Setup) -> Result<State, ActorProcessingErr> {
        let Setup { picker, outgoing, ends, hello, owner } = setup;
        // Numbers begin anew here, which no origin survives; and an uplink before this one can lift nothing any more.
        picker.be_reborn();
        picker.overlay.clear();
        let bell = tokio::spawn(ring(Arc::clone(&picker), myself.clone()));
        let passing_on = tokio::spawn(relay(Arc::clone(&picker), hello.clone(), owner.clone(), ends));
        let link = tokio::spawn(feed(owner, myself.clone()));
        myself.send_after(WHOLE_EVERY, || Message::FlushWhole);
        let (feeder, tasks) = (FeedbackBatcher::default(), [bell, link, passing_on]);
        Ok(State { picker, outgoing, feeder, hello, connection: None, tasks })
    }

    async fn handle(
        &self,
        myself: UplinkRef,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Connected(batches) => {
                state.connection = Some(Connection { batches, is_fresh: true });
                state.feeder.send_again();
                state.flush(GaugeScope::Whole).await;
            }
            Message::Disconnected => state.connection = None,
            Message::Flush => state.flush(GaugeScope::Changed).await,
            Message::FlushWhole => {
                let expired = state.feeder.expire(state.picker.now_ms(), &state.picker.overlay);
                state.picker.metrics.placements_expired.inc_by(expired as u64);
                state.flush(GaugeScope::Whole).await;
                myself.send_after(WHOLE_EVERY, || Message::FlushWhole);
            }
            Message::Replied(Reply::NeedChain(number)) => {
                state.feeder.need_chain(number);
                state.flush(GaugeScope::Changed).await;
            }
            // Batches of the origin before were still on their way.
            Message::Replied(Reply::Expired(origin)) if origin != state.picker.origin() => {}
            Message::Replied(Reply::Expired(_)) => {
                tracing::warn!("the pool had given this replica up; it takes a new origin");
                state.picker.be_reborn();
                state.picker.metrics.rebirths.inc();
                state.feeder.send_again();
                state.flush(GaugeScope::Whole).await;
            }
            Message::Acknowledged(number) => state.feeder.acknowledged(number, &state.picker.overlay),
        }
        Ok(())
    }

    async fn post_stop(&self, _myself: UplinkRef, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.tasks.iter().for_each(JoinHandle::abort);
        Ok(())
    }
}

impl State {
    async fn flush(&mut self, scope: GaugeScope) {
        self.take_in().await;
        let Some(connection) = &mut self.connection else { return };
        let Ok(permit) = connection.batches.try_reserve() else {
            self.picker.bell.notify_one();
            return;
        };
        let changed = self.picker.bookings.take_changed();
        let gauges = match scope {
            GaugeScope::Whole => self.picker.bookings.whole(),
            GaugeScope::Changed => changed,
        };
        let batch = self.feeder.batch(self.picker.epoch(), self.picker.origin(), scope, gauges);
        if self.feeder.has_more() {
            self.picker.bell.notify_one();
        }
        if let Some(feedback) = batch {
            let hello = std::mem::take(&mut connection.is_fresh).then_some(&self.hello);
            permit.send(signalbox_wire::feedback_batch(hello, feedback));
        }
    }

    async fn take_in(&mut self) {
        let now_ms = self.picker.now_ms();
        let mut outgoing = self.outgoing.lock().await;
        while self.feeder.has_room()
            && let Ok(placed) = outgoing.placed.try_recv()
        {
            self.feeder.placed(now_ms, placed);
        }
        while self.feeder.has_room_for_remarks()
            && let Ok(remark) = outgoing.remarks.try_recv()
        {
            match remark {
                Remark::Response(answer) => self.feeder.answered(answer),
                Remark::Adapter(endpoint, adapter) => self.feeder.sent_for(endpoint, adapter),
            }
        }
    }
}

/// Turns rings of the bell into flushes at the pace.
async fn ring(picker: Arc<Picker>, uplink: UplinkRef) {
    loop {
        picker.bell.notified().await;
        if uplink.cast(Message::Flush).is_err() {
            return;
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Opens the feedback stream to whoever owns the pool, again and again, and leaves it when somebody else does.
async fn feed(mut owner: watch::Receiver<Owner>, uplink: UplinkRef) {
    loop {
        let now = match owner.wait_for(Option::is_some).await {
            Ok(now) => now.clone(),
            Err(_) => return,
        };
        if let Some((stream, channel)) = now {
            let is_another = |owner: &Owner| owner.as_ref().is_some_and(|(known, _)| *known != stream);
            tokio::select! {
                () = exchange(channel, &uplink) => {}
                _ = owner.wait_for(is_another) => {}
            }
        }
        if uplink.cast(Message::Disconnected).is_err() {
            return;
        }
        tokio::time::sleep(REOPEN).await;
    }
}

async fn exchange(channel: Channel, uplink: &UplinkRef) {
    let (batches, said) = mpsc::channel(BATCHES_WAITING);
    if uplink.cast(Message::Connected(batches)).is_err() {
        return;
    }
    let mut replies = match PoolClient::new(channel).feed(ReceiverStream::new(said)).await {
        Ok(response) => response.into_inner(),
        Err(status) => {
            tracing::debug!(%status, "the aggregator takes no feedback");
            return;
        }
    };
    while let Ok(Some(message)) = replies.message().await {
        match signalbox_wire::reply(&message) {
            Ok(reply) if uplink.cast(Message::Replied(reply)).is_ok() => {}
            Ok(_) | Err(_) => return,
        }
    }
}
