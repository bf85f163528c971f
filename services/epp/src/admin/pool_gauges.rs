//! Gauges of the pool under the Go EPP's names, read on each scrape.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use signalbox_peers::FollowedPool;
use signalbox_state::{EndpointState, ScrapeStatus};
use signalbox_types::PPM;

use crate::deciding::picker::Picker;

/// Exports gauges of the pool, read from the view on each scrape. Endpoints that are draining or without
/// fresh values are left out. An average of values that no endpoint reports is absent: 0 would look like an
/// idle pool.
#[derive(Debug)]
pub(crate) struct PoolGauges {
    pub(crate) picker: Arc<Picker>,
    /// The pool that the picker serves.
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
            .filter(|member| member.observed.scrape_status == ScrapeStatus::Fresh && !member.spec.is_draining)
            .collect();
        let mean = |of: fn(&EndpointState) -> Option<f64>| {
            let values: Vec<f64> = fresh.iter().filter_map(|member| of(member)).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let ready = Some(fresh.len() as f64);
        let queue = mean(|member| Some(f64::from(member.observed.gauges.waiting)));
        let running = mean(|member| member.observed.gauges.running.map(f64::from));
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
            (
                "llm_d_epp_ready_endpoints",
                "Endpoints that take new requests and whose scraped values are fresh",
                ready,
            ),
            ("inference_pool_ready_pods", "Same as llm_d_epp_ready_endpoints", ready),
        ];
        let pool = self.pool.name().and_then(|pool| pool.rsplit('/').next()).unwrap_or_default();
        let pool = [("name", pool)];
        for (name, help, value) in gauges {
            let Some(value) = value else { continue };
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

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::test_support::{FIRST, SECOND, picker_for, pool, pool_with_draining};

    /// Returns the values of the gauges of a pool whose endpoints have `scrape_status`.
    fn page(scrape_status: ScrapeStatus) -> String {
        page_of(&pool(&[FIRST, SECOND], scrape_status))
    }

    fn page_of(pool: &signalbox_state::Pool) -> String {
        let picker = picker_for(pool, signalbox_schedule::Policy::default());
        let mut registry = Registry::default();
        let pool = Arc::new(FollowedPool::default());
        registry.register_collector(Box::new(PoolGauges { picker: Arc::new(picker), pool }));
        let mut page = String::new();
        encode(&mut page, &registry).unwrap();
        page
    }

    #[test]
    fn draining_endpoints_are_left_out() {
        let page = page_of(&pool_with_draining(&[FIRST, SECOND], &[FIRST]));
        assert!(page.contains("llm_d_epp_ready_endpoints{name=\"\"} 1"), "{page}");
        assert!(!page.contains(FIRST) && page.contains(SECOND), "{page}");
    }

    #[test]
    fn averages_are_absent_unless_a_fresh_endpoint_reports_the_value() {
        let stale = page(ScrapeStatus::Stale);
        assert!(stale.contains("llm_d_epp_ready_endpoints{name=\"\"} 0"), "{stale}");
        assert!(!stale.contains("average"), "{stale}");
        // These endpoints report waiting requests only.
        let fresh = page(ScrapeStatus::Fresh);
        assert!(fresh.contains("llm_d_epp_average_queue_size{name=\"\"} 0"), "{fresh}");
        assert!(!fresh.contains("running") && !fresh.contains("kv_cache"), "{fresh}");
    }
}
