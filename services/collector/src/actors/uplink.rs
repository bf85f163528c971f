//! `Uplink`: keeps a stream to an aggregator open.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use signalbox_actors::{BackgroundTask, Backoff, BackoffPolicy};
use signalbox_types::PeerAddress;
use tokio::task::JoinError;

use crate::actors::aggregator_stream::{AggregatorStream, StreamError};
use crate::actors::root_message::RootMessage;
use crate::assignment::Assignment;
use crate::shared::Shared;

/// Delays between attempts to open a stream. They are short, because only one of several aggregators owns the
/// pool and the others refuse at once.
const RETRY: BackoffPolicy =
    BackoffPolicy { base: Duration::from_millis(25), cap: Duration::from_millis(250) };

/// Keeps a stream to an aggregator open and tries one aggregator after the other.
pub(crate) struct Uplink;

#[derive(Debug)]
pub(crate) enum UplinkMessage {
    /// Open a stream.
    Open,
    /// The aggregator sent an assignment.
    Assigned(Assignment),
    /// The stream ended or could not be opened.
    Ended(Result<StreamError, JoinError>),
}

pub(crate) struct UplinkState {
    shared: Arc<Shared>,
    root: ActorRef<RootMessage>,
    backoff: Backoff,
    attempts: usize,
    /// The aggregator of the current or the last attempt.
    aggregator: Option<PeerAddress>,
    /// Whether a failure was logged since the last assignment.
    is_failure_logged: bool,
    stream: Option<BackgroundTask>,
}

impl Actor for Uplink {
    type Msg = UplinkMessage;
    type State = UplinkState;
    type Arguments = (Arc<Shared>, ActorRef<RootMessage>);

    async fn pre_start(
        &self,
        myself: ActorRef<UplinkMessage>,
        (shared, root): Self::Arguments,
    ) -> Result<UplinkState, ActorProcessingErr> {
        myself.cast(UplinkMessage::Open)?;
        Ok(UplinkState {
            shared,
            root,
            backoff: Backoff::new(RETRY),
            attempts: 0,
            aggregator: None,
            is_failure_logged: false,
            stream: None,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<UplinkMessage>,
        message: UplinkMessage,
        state: &mut UplinkState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            UplinkMessage::Open => state.open(&myself),
            UplinkMessage::Assigned(assignment) => state.handle_assignment(assignment)?,
            UplinkMessage::Ended(error) => state.handle_end(&myself, &error?),
        }
        Ok(())
    }
}

impl UplinkState {
    /// Returns the aggregator to try next; `None` while none is known.
    fn next_aggregator(&self) -> Option<PeerAddress> {
        let known = self.shared.aggregators.borrow();
        let turn = self.attempts % known.len().max(1);
        known.get(turn).cloned()
    }

    fn open(&mut self, myself: &ActorRef<UplinkMessage>) {
        let Some(aggregator) = self.next_aggregator() else {
            myself.send_after(self.backoff.on_failure(rand::random()), || UplinkMessage::Open);
            return;
        };
        self.aggregator = Some(aggregator.clone());
        let shared = self.shared.clone();
        let uplink = myself.clone();
        // An uplink that has stopped needs no assignment.
        let on_assignment = move |assignment| drop(uplink.cast(UplinkMessage::Assigned(assignment)));
        let work = AggregatorStream { shared, aggregator }.run(on_assignment);
        self.stream = Some(BackgroundTask::start(myself.clone(), work, UplinkMessage::Ended));
    }

    /// Forwards an assignment to the root. The aggregator works, so earlier failures no longer count.
    fn handle_assignment(&mut self, assignment: Assignment) -> Result<(), ActorProcessingErr> {
        self.backoff.on_success();
        self.is_failure_logged = false;
        let endpoints = assignment.endpoints.len();
        tracing::info!(
            pool = self.shared.pool,
            aggregator = self.aggregator.as_ref().map(tracing::field::display),
            endpoints,
            "received an assignment"
        );
        Ok(self.root.cast(RootMessage::Assign(assignment))?)
    }

    fn handle_end(&mut self, myself: &ActorRef<UplinkMessage>, error: &StreamError) {
        self.shared.metrics.stream_failures.inc();
        let (pool, aggregator) = (&self.shared.pool, self.aggregator.as_ref().map(tracing::field::display));
        if self.is_failure_logged {
            tracing::debug!(pool, aggregator, %error, "still no stream to the pool's owner; retrying");
        } else {
            tracing::warn!(pool, aggregator, %error, "no stream to the pool's owner; scraping continues");
        }
        self.is_failure_logged = true;
        self.stream = None;
        self.attempts += 1;
        myself.send_after(self.backoff.on_failure(rand::random()), || UplinkMessage::Open);
    }
}
