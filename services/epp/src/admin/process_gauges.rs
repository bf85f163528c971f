//! Gauges of the whole replica, read on each scrape.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use signalbox_extproc::BodyBudget;

use crate::directory::PoolDirectory;

/// Exports the gauges of the whole replica.
#[derive(Debug)]
pub(crate) struct ProcessGauges {
    /// The limit on buffered bodies, which all pools share.
    pub(crate) body_budget: BodyBudget,
    /// The pools that are served.
    pub(crate) directory: Arc<PoolDirectory>,
}

impl Collector for ProcessGauges {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let gauges = [
            ("buffered_body_bytes", "Buffered bytes of request bodies", self.body_budget.held_bytes()),
            ("pools", "Pools that this replica serves or drains", self.directory.all().len() as u64),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
