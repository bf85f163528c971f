//! One stream to an aggregator, from its opening to its end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use signalbox_peers::{Connection, status_reason};
use signalbox_protos::signalbox::v1 as pb;
use signalbox_protos::signalbox::v1::pool_client::PoolClient;
use signalbox_types::PeerAddress;
use signalbox_wire::{Hello, WireError, decode_assignment, encode_reports};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::assignment::{Assignment, AssignmentKind};
use crate::clock::as_millis;
use crate::highest_epoch::EpochStatus;
use crate::outbox;
use crate::shared::Shared;

/// Time limit for an aggregator to accept the stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);

/// Time limit for the owner to send the first assignment, even an empty one. Other aggregators refuse at
/// once.
const ASSIGNMENT_TIMEOUT: Duration = Duration::from_secs(2);

/// Minimum time between two messages. Updates in between are merged.
const FLUSH_INTERVAL: Duration = Duration::from_millis(5);

/// An empty message is sent after this time without reports. Together with the time that a message can be
/// queued, it stays below the 500 ms that the protocol promises.
const HEARTBEAT_AFTER: Duration = Duration::from_millis(400);

/// Maximum of reports in one message, so that a message stays below the size limit however many endpoints
/// there are.
const MAX_REPORTS_PER_MESSAGE: usize = 1_000;

/// Why a stream ended or could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("cannot connect: {0}")]
    Connect(signalbox_tls::ConnectError),
    #[error("no answer in time")]
    Timeout,
    #[error("refused or broken: {} ({:?})", status_reason(.0), .0.code())]
    Status(Box<Status>),
    #[error("closed by the aggregator")]
    Closed,
}

impl From<Status> for StreamError {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

/// The maximum size of an assignment: 100,000 endpoints with names and URLs of 2 KiB. An assignment contains all endpoints
/// of the collector, so that its size has no bound other than the pool's.
const MAX_ASSIGNMENT_BYTES: usize = 256 << 20;

/// A stream that is not open yet.
pub(crate) struct AggregatorStream {
    pub(crate) shared: Arc<Shared>,
    pub(crate) aggregator: PeerAddress,
}

impl AggregatorStream {
    /// Opens the stream, sends the contents of the outbox on it, and passes each assignment to
    /// `on_assignment`. Returns why the stream ended.
    pub(crate) async fn run(self, on_assignment: impl Fn(Assignment) + Send) -> StreamError {
        match self.try_run(on_assignment).await {
            Err(error) => error,
            Ok(never) => match never {},
        }
    }

    async fn try_run(&self, on_assignment: impl Fn(Assignment) + Send) -> Result<Infallible, StreamError> {
        let connection = self.shared.connections.open(&self.aggregator).await;
        let connection = connection.map_err(StreamError::Connect)?;
        let ended = self.run_on(&connection, on_assignment).await;
        match &ended {
            Err(StreamError::Status(status)) => connection.observe(status),
            Err(StreamError::Timeout) => connection.mark_broken(),
            _ => {}
        }
        ended
    }

    async fn run_on(
        &self,
        connection: &Connection,
        on_assignment: impl Fn(Assignment) + Send,
    ) -> Result<Infallible, StreamError> {
        let mut client =
            PoolClient::new(connection.channel()).max_decoding_message_size(MAX_ASSIGNMENT_BYTES);
        let (sender, outgoing) = mpsc::channel(1);
        let Shared { config, pool, .. } = self.shared.as_ref();
        let hello = Hello { pool: pool.clone(), name: config.name.clone() };
        self.send(&sender, Some(&hello), Vec::new()).await?;
        let opened = timeout(OPEN_TIMEOUT, client.collect(ReceiverStream::new(outgoing))).await;
        let incoming = opened.map_err(|_| StreamError::Timeout)??.into_inner();
        self.shared.metrics.streams_opened.inc();
        tokio::select! {
            ended = self.receive(incoming, on_assignment) => ended,
            ended = self.flush(sender) => ended,
        }
    }

    async fn receive(
        &self,
        mut incoming: Streaming<pb::CollectorAssignment>,
        on_assignment: impl Fn(Assignment),
    ) -> Result<Infallible, StreamError> {
        let mut kind = AssignmentKind::NewStream;
        let mut first =
            Some(timeout(ASSIGNMENT_TIMEOUT, incoming.message()).await.map_err(|_| StreamError::Timeout)??);
        while let Some(directive) = match first.take() {
            Some(first) => first,
            None => incoming.message().await?,
        } {
            let epoch = directive.epoch;
            if !self.is_current(epoch) {
                continue;
            }
            match decode_assignment(directive) {
                Ok(endpoints) => {
                    on_assignment(Assignment { endpoints, kind });
                    kind = AssignmentKind::Update;
                }
                Err(error) => self.log_invalid_assignment(&error),
            }
        }
        Err(StreamError::Closed)
    }

    /// Records the epoch of an assignment. Returns whether the assignment counts.
    fn is_current(&self, epoch: u64) -> bool {
        let status = self.shared.highest_epoch.record(epoch);
        match status {
            EpochStatus::Current => {}
            EpochStatus::Outdated => {
                tracing::warn!(aggregator = %self.aggregator, epoch, "ignoring the assignment of an earlier owner");
            }
            EpochStatus::Refused { is_first } => {
                self.shared.metrics.epochs_refused.inc();
                if is_first {
                    tracing::warn!(aggregator = %self.aggregator, epoch, "ignoring an epoch that cannot be genuine");
                }
            }
        }
        status == EpochStatus::Current
    }

    fn log_invalid_assignment(&self, error: &WireError) {
        tracing::error!(aggregator = %self.aggregator, %error, "invalid assignment; keeping the previous one");
    }

    /// Sends updates as soon as there are any, then waits for more of them to merge. Leaves updates in the
    /// outbox while the previous message is still queued.
    async fn flush(&self, sender: mpsc::Sender<pb::CollectorMessage>) -> Result<Infallible, StreamError> {
        loop {
            drop(sender.reserve().await.map_err(|_| StreamError::Closed)?);
            let pending = timeout(HEARTBEAT_AFTER, self.shared.outbox.take()).await.unwrap_or_default();
            let mut reports = outbox::reports(pending, as_millis(self.shared.clock.now()));
            while reports.len() > MAX_REPORTS_PER_MESSAGE {
                let rest = reports.split_off(MAX_REPORTS_PER_MESSAGE);
                self.send(&sender, None, std::mem::replace(&mut reports, rest)).await?;
            }
            self.send(&sender, None, reports).await?;
            sleep(FLUSH_INTERVAL).await;
        }
    }

    async fn send(
        &self,
        sender: &mpsc::Sender<pb::CollectorMessage>,
        hello: Option<&Hello>,
        reports: Vec<signalbox_state::Report>,
    ) -> Result<(), StreamError> {
        let metrics = &self.shared.metrics;
        metrics.messages_sent.inc();
        metrics.reports_sent.inc_by(reports.len() as u64);
        let epoch = self.shared.highest_epoch.get();
        let message = encode_reports(hello, epoch, &self.shared.config.name, reports);
        sender.send(message).await.map_err(|_| StreamError::Closed)
    }
}
