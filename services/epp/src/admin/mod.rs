//! What the metrics port serves besides counters: `/explain`, `/decisions`, `/queues` and gauges that are read on
//! each scrape.

pub(crate) mod access;
pub(crate) mod decisions;
pub(crate) mod explain;
pub(crate) mod pool_gauges;
pub(crate) mod process_gauges;
pub(crate) mod queue_gauges;
pub(crate) mod queues;
pub(crate) mod replica_gauges;
