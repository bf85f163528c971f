//! One stream to an aggregator, from its opening to its end.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use signalbox_peers::{connect, why};
use signalbox_protos::signalbox::v1 as pb;
use signalbox_protos::signalbox::v1::pool_client::PoolClient;
use signalbox_types::PeerAddress;
use signalbox_wire::{Hello, WireError, assigned, collector_message};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::actors::Shared;
use crate::clock::millis;
use crate::config::CollectorConfig;
use crate::outbox;
use crate::roster::{Assignment, Occasion};

/// How long an aggregator has to accept the stream.
const OPEN_DEADLINE: Duration = Duration::from_secs(2);

/// How long an owner has to assign something, be it nothing; one that does not own the pool refuses at once.
const ASSIGN_DEADLINE: Duration = Duration::from_secs(2);

/// Between two messages at least; what changes meanwhile is merged.
const FLUSH_EVERY: Duration = Duration::from_millis(5);

/// A message is sent after this long without a report; with what a message waits for it is less than the 500 ms promised.
const SIGN_OF_LIFE_AFTER: Duration = Duration::from_millis(400);

/// So that the reports of very many endpoints do not make a message too big to be received.
const REPORTS_PER_MESSAGE: usize = 1_000;

/// Why a stream could not be opened, or ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("no connection: {0}")]
    Connect(signalbox_tls::ConnectError),
    #[error("no answer")]
    NoAnswer,
    #[error("refused or broken: {} ({:?})", why(.0), .0.code())]
    Status(Box<Status>),
    #[error("closed by the aggregator")]
    Closed,
}

impl From<Status> for LinkError {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

/// The highest epoch that this collector has heard of, over all streams.
#[derive(Debug, Default)]
pub(crate) struct HighestEpoch(AtomicU64);

impl HighestEpoch {
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether `epoch` is in force: no higher one has been heard.
    fn hear(&self, epoch: u64) -> bool {
        self.0.fetch_max(epoch, Ordering::Relaxed) <= epoch
    }
}

/// A stream, before it is opened.
pub(crate) struct Link {
    pub(crate) shared: Arc<Shared>,
    pub(crate) address: PeerAddress,
}

impl Link {
    /// Opens the stream, empties the outbox into it, and tells each assignment that comes. Returns why it ended.
    pub(crate) async fn run(self, tell: impl Fn(Assignment) + Send) -> LinkError {
        match self.try_run(tell).await {
            Err(error) => error,
            Ok(never) => match never {},
        }
    }

    async fn try_run(&self, tell: impl Fn(Assignment) + Send) -> Result<Infallible, LinkError> {
        let channel = connect(&self.address, &self.shared.config.security).await;
        let mut client = PoolClient::new(channel.map_err(LinkError::Connect)?);
        let (sender, outgoing) = mpsc::channel(1);
        let CollectorConfig { name, pool, .. } = &self.shared.config;
        let hello = Hello { pool: pool.clone(), name: name.clone() };
        self.send(&sender, Some(&hello), Vec::new()).await?;
        let opened = timeout(OPEN_DEADLINE, client.collect(ReceiverStream::new(outgoing))).await;
        let incoming = opened.map_err(|_| LinkError::NoAnswer)??.into_inner();
        self.shared.metrics.streams.inc();
        tokio::select! {
            ended = self.listen(incoming, tell) => ended,
            ended = self.flush(sender) => ended,
        }
    }

    async fn listen(
        &self,
        mut incoming: Streaming<pb::CollectorDirective>,
        tell: impl Fn(Assignment),
    ) -> Result<Infallible, LinkError> {
        let mut occasion = Occasion::NewStream;
        let mut first =
            Some(timeout(ASSIGN_DEADLINE, incoming.message()).await.map_err(|_| LinkError::NoAnswer)??);
        while let Some(directive) = match first.take() {
            Some(first) => first,
            None => incoming.message().await?,
        } {
            let epoch = directive.epoch;
            if !self.shared.epoch.hear(epoch) {
                tracing::warn!(aggregator = %self.address, epoch, "an assignment of a deposed owner is not followed");
                continue;
            }
            match assigned(directive) {
                Ok(endpoints) => {
                    tell(Assignment { endpoints, occasion });
                    occasion = Occasion::Change;
                }
                Err(error) => self.log_unreadable(&error),
            }
        }
        Err(LinkError::Closed)
    }

    fn log_unreadable(&self, error: &WireError) {
        tracing::error!(aggregator = %self.address, %error, "an assignment cannot be read; the one before stays in force");
    }

    /// Sends what changed at once, then waits a little for more to change; takes nothing out while the last message still waits.
    async fn flush(&self, sender: mpsc::Sender<pb::CollectorMessage>) -> Result<Infallible, LinkError> {
        loop {
            drop(sender.reserve().await.map_err(|_| LinkError::Closed)?);
            let waiting = timeout(SIGN_OF_LIFE_AFTER, self.shared.outbox.take()).await.unwrap_or_default();
            let mut reports = outbox::reports(waiting, millis(self.shared.clock.now()));
            while reports.len() > REPORTS_PER_MESSAGE {
                let rest = reports.split_off(REPORTS_PER_MESSAGE);
                self.send(&sender, None, std::mem::replace(&mut reports, rest)).await?;
            }
            self.send(&sender, None, reports).await?;
            sleep(FLUSH_EVERY).await;
        }
    }

    async fn send(
        &self,
        sender: &mpsc::Sender<pb::CollectorMessage>,
        hello: Option<&Hello>,
        reports: Vec<signalbox_state::Report>,
    ) -> Result<(), LinkError> {
        let metrics = &self.shared.metrics;
        metrics.messages.inc();
        metrics.reports.inc_by(reports.len() as u64);
        let message = collector_message(hello, self.shared.epoch.get(), &self.shared.config.name, reports);
        sender.send(message).await.map_err(|_| LinkError::Closed)
    }
}
