//! `Uplink`: tells the pool's owner what this replica has booked and placed. On the leading edge, then every 2 ms.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use signalbox_protos::signalbox::v1::FeedbackBatch;
use signalbox_protos::signalbox::v1::pool_client::PoolClient;
use signalbox_state::{Answer, Feedback, Outbox, Placement, Scope};
use signalbox_types::EndpointKey;
use signalbox_wire::Reply;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::desk::{Desk, Outgoing, Remark};

/// Feedback is sent at most so often.
const PACE: Duration = Duration::from_millis(2);

/// All gauges are sent so often, changed or not: a sign of life that heals what was lost.
const WHOLE_EVERY: Duration = Duration::from_millis(500);

/// Batches that may wait for the connection. Gauges that do not get through are conflated meanwhile.
const BATCHES_WAITING: usize = 4;

/// Placements in one batch.
const PLACEMENTS_PER_BATCH: usize = 512;

/// Answers and adapters in one batch.
const REMARKS_PER_BATCH: usize = 512;

/// A placement that the pool has not echoed for so long is given up: longer than a failover takes.
const PLACEMENT_DEADLINE: Duration = Duration::from_secs(10);

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
    pub(crate) desk: Arc<Desk>,
    pub(crate) outgoing: Queue,
    pub(crate) channel: watch::Receiver<Option<Channel>>,
}

#[derive(Debug)]
pub(crate) struct Uplink;

pub(crate) struct State {
    desk: Arc<Desk>,
    outgoing: Queue,
    outbox: Outbox,
    adapters: Vec<(EndpointKey, Arc<str>)>,
    answers: Vec<Answer>,
    /// Chains that the owner asked for.
    chains: Vec<Placement>,
    connection: Option<mpsc::Sender<FeedbackBatch>>,
    seq: u64,
    tasks: [JoinHandle<()>; 2],
}

impl Actor for Uplink {
    type Msg = Message;
    type State = State;
    type Arguments = Setup;

    async fn pre_start(&self, myself: UplinkRef, setup: Setup) -> Result<State, ActorProcessingErr> {
        let Setup { desk, outgoing, channel } = setup;
        // Numbers begin anew here, which no origin survives; and an uplink before this one can lift nothing any more.
        desk.be_reborn();
        desk.overlay.clear();
        let bell = tokio::spawn(ring(Arc::clone(&desk), myself.clone()));
        let link = tokio::spawn(feed(channel, myself.clone()));
        myself.send_after(WHOLE_EVERY, || Message::FlushWhole);
        Ok(State {
            desk,
            outgoing,
            outbox: Outbox::default(),
            adapters: Vec::new(),
            answers: Vec::new(),
            chains: Vec::new(),
            connection: None,
            seq: 0,
            tasks: [bell, link],
        })
    }

    async fn handle(
        &self,
        myself: UplinkRef,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Connected(connection) => {
                state.connection = Some(connection);
                state.outbox.send_again();
                state.flush(Scope::Whole).await;
            }
            Message::Disconnected => state.connection = None,
            Message::Flush => state.flush(Scope::Changed).await,
            Message::FlushWhole => {
                let deadline_ms = PLACEMENT_DEADLINE.as_millis() as u64;
                state.outbox.expire(state.desk.now_ms(), deadline_ms, &state.desk.overlay);
                state.flush(Scope::Whole).await;
                myself.send_after(WHOLE_EVERY, || Message::FlushWhole);
            }
            Message::Replied(Reply::NeedChain(number)) => {
                state.chains.extend(state.outbox.whole_chain(number));
                state.flush(Scope::Changed).await;
            }
            Message::Replied(Reply::Expired) => {
                tracing::warn!("the pool had given this replica up; it takes a new origin");
                state.desk.be_reborn();
                state.desk.metrics.rebirths.inc();
                state.outbox.send_again();
                state.flush(Scope::Whole).await;
            }
            Message::Acknowledged(number) => state.outbox.acknowledged(number, &state.desk.overlay),
        }
        Ok(())
    }

    async fn post_stop(&self, _myself: UplinkRef, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.tasks.iter().for_each(JoinHandle::abort);
        Ok(())
    }
}

impl State {
    async fn flush(&mut self, scope: Scope) {
        self.take_in().await;
        let Some(connection) = &self.connection else { return };
        let Ok(permit) = connection.try_reserve() else {
            self.desk.bell.notify_one();
            return;
        };
        let changed = self.desk.bookings.take_changed();
        let gauges = match scope {
            Scope::Whole => self.desk.bookings.whole(),
            Scope::Changed => changed,
        };
        let mut placements = std::mem::take(&mut self.chains);
        placements.extend(self.outbox.take_unsent(PLACEMENTS_PER_BATCH));
        let has_remarks = !self.answers.is_empty() || !self.adapters.is_empty();
        if scope == Scope::Changed && gauges.is_empty() && placements.is_empty() && !has_remarks {
            return;
        }
        if self.outbox.has_unsent() {
            self.desk.bell.notify_one();
        }
        self.seq += 1;
        let epoch = self.desk.sight.load().view.version.map_or(0, |version| version.epoch);
        let feedback = Feedback {
            epoch,
            origin: self.desk.origin(),
            seq: self.seq,
            scope,
            gauges,
            placements,
            adapters: std::mem::take(&mut self.adapters),
            answers: std::mem::take(&mut self.answers),
        };
        permit.send(signalbox_wire::feedback_batch(feedback));
    }

    async fn take_in(&mut self) {
        let now_ms = self.desk.now_ms();
        let mut outgoing = self.outgoing.lock().await;
        while self.outbox.has_room()
            && let Ok(placed) = outgoing.placed.try_recv()
        {
            self.outbox.put(now_ms, placed);
        }
        while self.answers.len() + self.adapters.len() < REMARKS_PER_BATCH
            && let Ok(remark) = outgoing.remarks.try_recv()
        {
            match remark {
                Remark::Answer(answer) => self.answers.push(answer),
                Remark::Adapter(endpoint, adapter) => self.adapters.push((endpoint, adapter)),
            }
        }
    }
}

/// Turns rings of the bell into flushes at the pace.
async fn ring(desk: Arc<Desk>, uplink: UplinkRef) {
    loop {
        desk.bell.notified().await;
        if uplink.cast(Message::Flush).is_err() {
            return;
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Opens the feedback stream on whatever connection the downlink has, again and again.
async fn feed(mut channel: watch::Receiver<Option<Channel>>, uplink: UplinkRef) {
    loop {
        let connected = match channel.wait_for(Option::is_some).await {
            Ok(connected) => connected.clone(),
            Err(_) => return,
        };
        if let Some(connected) = connected {
            exchange(connected, &uplink).await;
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
