//! State that all actors of one pool share.

use std::sync::Arc;

use signalbox_peers::Connections;
use signalbox_types::PeerAddress;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::CollectorConfig;
use crate::highest_epoch::HighestEpoch;
use crate::metrics::Metrics;
use crate::outbox::Outbox;

/// State that all actors of one pool share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Arc<CollectorConfig>,
    /// The pool; `None` for the only one that the aggregators have.
    pub(crate) pool: Option<String>,
    /// The aggregators that are known at the moment.
    pub(crate) aggregators: watch::Receiver<Vec<PeerAddress>>,
    pub(crate) connections: Connections,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) outbox: Outbox,
    pub(crate) highest_epoch: HighestEpoch,
}
