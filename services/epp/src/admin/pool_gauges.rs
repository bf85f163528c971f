//! Gauges of the pool under the Go EPP's names, read on each scrape.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use signalbox_peers::FollowedPool;
use signalbox_state::{EndpointState, ScrapeStatus};
use signalbox_types::PPM;

use crate::deciding::picker::Picker;

/// Exports gauges of the pool, read from the view on each scrape. Endpoints without fresh values are left
/// out.
#[derive(Debug)]
pub(crate) struct PoolGauges {
    pub(crate) picker: Arc<Picker>,
    /// The pool that the replica follows.
    pub(crate) pool: Arc<FollowedPool>,
}

impl Collector for PoolGauges {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let snapshot = self.picker.snapshot.load();
        let fresh: Vec<&EndpointState> = snapshot
            .view
            .endpoints
            .iter()
            .map(AsRef::as_ref)
            .filter(|member| member.observed.scrape_status == ScrapeStatus::Fresh)
            .collect();
        let mean = |of: fn(&EndpointState) -> Option<f64>| {
            let values: Vec<f64> = fresh.iter().filter_map(|member| of(member)).collect();
            values.iter().sum::<f64>() / values.len().max(1) as f64
        };
        let queue = mean(|member| Some(f64::from(member.observed.gauges.waiting)));
        let running = mean(|member| Some(f64::from(member.observed.gauges.running)));
        let cache = mean(|member| Some(f64::from(member.observed.gauges.kv_used_ppm?) / f64::from(PPM)));
        let gauges = [
            ("llm_d_epp_average_queue_size", "Average number of waiting requests per endpoint", queue),
            ("inference_pool_average_queue_size", "Same as llm_d_epp_average_queue_size", queue),
            (
                "llm_d_epp_average_running_requests",
                "Average number of running requests per endpoint",
                running,
            ),
            (
                "llm_d_epp_average_kv_cache_utilization",
                "Average share of the KV cache in use, from 0 to 1",
                cache,
            ),
            (
                "inference_pool_average_kv_cache_utilization",
                "Same as llm_d_epp_average_kv_cache_utilization",
                cache,
            ),
            ("llm_d_epp_ready_endpoints", "Endpoints whose scraped values are fresh", fresh.len() as f64),
            ("inference_pool_ready_pods", "Same as llm_d_epp_ready_endpoints", fresh.len() as f64),
        ];
        let pool = self.pool.name().and_then(|pool| pool.rsplit('/').next()).unwrap_or_default();
        let pool = [("name", pool)];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            let mut encoder = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(encoder.encode_family(&pool)?)?;
        }
        for (name, label) in [
            ("llm_d_epp_per_endpoint_queue_size", "model_server_endpoint"),
            ("inference_pool_per_pod_queue_size", "model_server_pod"),
        ] {
            let kind = ConstGauge::new(0.0).metric_type();
            let mut encoder =
                encoder.encode_descriptor(name, "Waiting requests at an endpoint", None, kind)?;
            for member in &fresh {
                let labels = [pool[0], (label, member.spec.name.as_str())];
                let gauge = ConstGauge::new(f64::from(member.observed.gauges.waiting));
                gauge.encode(encoder.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
