//! Keeps a stream to an aggregator open.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use signalbox_actors::{Backoff, BackoffPolicy, Errand, Panicked};

use crate::actors::Shared;
use crate::actors::root::RootCommand;
use crate::link::{Link, LinkError};
use crate::roster::Assignment;
use signalbox_types::PeerAddress;

/// Between attempts to open a stream. One of several aggregators owns the pool and the others refuse at once, so that the next is soon
/// tried.
const PAUSES: BackoffPolicy =
    BackoffPolicy { base: Duration::from_millis(25), cap: Duration::from_millis(250) };

/// Owns the stream to an aggregator, and which aggregator that is.
pub(crate) struct Uplink;

#[derive(Debug)]
pub(crate) enum UplinkCommand {
    /// Open a stream.
    Open,
    /// The aggregator said what to read.
    Assigned(Assignment),
    /// The stream has ended, or could not be opened.
    Ended(Result<LinkError, Panicked>),
}

pub(crate) struct UplinkState {
    shared: Arc<Shared>,
    root: ActorRef<RootCommand>,
    backoff: Backoff,
    attempts: usize,
    /// Tried or served by it, the latest.
    aggregator: Option<PeerAddress>,
    /// Whether the last end was logged and nothing has worked since.
    quiet: bool,
    stream: Option<Errand>,
}

impl Actor for Uplink {
    type Msg = UplinkCommand;
    type State = UplinkState;
    type Arguments = (Arc<Shared>, ActorRef<RootCommand>);

    async fn pre_start(
        &self,
        myself: ActorRef<UplinkCommand>,
        (shared, root): Self::Arguments,
    ) -> Result<UplinkState, ActorProcessingErr> {
        myself.cast(UplinkCommand::Open)?;
        let backoff = Backoff::new(PAUSES);
        Ok(UplinkState { shared, root, backoff, attempts: 0, aggregator: None, quiet: false, stream: None })
    }

    async fn handle(
        &self,
        myself: ActorRef<UplinkCommand>,
        command: UplinkCommand,
        state: &mut UplinkState,
    ) -> Result<(), ActorProcessingErr> {
        match command {
            UplinkCommand::Open => state.open(&myself),
            UplinkCommand::Assigned(assignment) => state.assigned(assignment)?,
            UplinkCommand::Ended(cause) => state.ended(&myself, &cause?),
        }
        Ok(())
    }
}

impl UplinkState {
    /// The aggregator whose turn it is; `None` while none is known.
    fn address(&self) -> Option<PeerAddress> {
        let known = self.shared.aggregators.borrow();
        let turn = self.attempts % known.len().max(1);
        known.get(turn).cloned()
    }

    fn open(&mut self, myself: &ActorRef<UplinkCommand>) {
        let Some(address) = self.address() else {
            myself.send_after(self.backoff.on_failure(rand::random()), || UplinkCommand::Open);
            return;
        };
        self.aggregator = Some(address.clone());
        let shared = self.shared.clone();
        let listener = myself.clone();
        // Who is gone needs no assignment.
        let tell = move |assignment| drop(listener.cast(UplinkCommand::Assigned(assignment)));
        let work = Link { shared, address }.run(tell);
        self.stream = Some(Errand::start(myself.clone(), work, UplinkCommand::Ended));
    }

    /// An aggregator that assigns works: only now do earlier failures not count any more.
    fn assigned(&mut self, assignment: Assignment) -> Result<(), ActorProcessingErr> {
        self.backoff.on_success();
        self.quiet = false;
        let endpoints = assignment.endpoints.len();
        tracing::info!(
            aggregator = self.aggregator.as_ref().map(tracing::field::display),
            endpoints,
            "assigned"
        );
        Ok(self.root.cast(RootCommand::Assign(assignment))?)
    }

    fn ended(&mut self, myself: &ActorRef<UplinkCommand>, cause: &LinkError) {
        self.shared.metrics.stream_failures.inc();
        if self.quiet {
            tracing::debug!(aggregator = self.aggregator.as_ref().map(tracing::field::display), %cause, "still no owner");
        } else {
            tracing::warn!(aggregator = self.aggregator.as_ref().map(tracing::field::display), %cause, "no owner of the pool; reading goes on");
        }
        self.quiet = true;
        self.stream = None;
        self.attempts += 1;
        myself.send_after(self.backoff.on_failure(rand::random()), || UplinkCommand::Open);
    }
}
