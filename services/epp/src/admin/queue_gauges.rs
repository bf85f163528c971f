//! Gauges of what waits, under the Go EPP's names, read on each scrape.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

use crate::deciding::picker::Picker;

/// Exports what waits at this replica, and the pool's saturation as this replica sees it. Without flow control, exports
/// nothing.
#[derive(Debug)]
pub(crate) struct QueueGauges(pub(crate) Arc<Picker>);

/// A value with its labels.
type Labeled = (Vec<(&'static str, String)>, f64);

impl QueueGauges {
    /// Returns the name, help text and values of each gauge.
    fn read(&self) -> Vec<(&'static str, &'static str, Vec<Labeled>)> {
        let picker = &self.0;
        let Some(settings) = picker.gate.settings() else { return Vec::new() };
        let saturation = picker.pool_saturation(&picker.snapshot.load().view);
        let (mut sizes, mut bytes) = (Vec::new(), Vec::new());
        for (flow, backlog) in picker.gate.backlogs(picker.now_ms()) {
            let labels = vec![("fairness_id", flow.id.to_string()), ("priority", flow.priority.to_string())];
            sizes.push((labels.clone(), backlog.usage.requests as f64));
            bytes.push((labels, backlog.usage.bytes as f64));
        }
        let (mut by_requests, mut by_bytes) = (Vec::new(), Vec::new());
        for (priority, usage) in picker.waiting_bands() {
            let (labels, caps) = (vec![("priority", priority.to_string())], settings.band(priority).caps);
            by_requests.push((labels.clone(), usage.requests as f64 / caps.requests as f64));
            by_bytes.push((labels, usage.bytes as f64 / caps.bytes as f64));
        }
        let effective = vec![(vec![("stage", "effective".to_owned())], saturation)];
        vec![
            (
                "llm_d_epp_flow_control_pool_saturation",
                "How full the pool is by the bookings of all replicas: 0 is idle, 1 is full",
                effective,
            ),
            (
                "llm_d_epp_flow_control_queue_size",
                "Requests that wait for a place at this replica, by flow",
                sizes,
            ),
            (
                "llm_d_epp_flow_control_queue_bytes",
                "Bytes of the bodies of requests that wait at this replica, by flow",
                bytes,
            ),
            (
                "llm_d_epp_flow_control_capacity_utilization_requests",
                "Share of a priority's limit on waiting requests that all replicas use together",
                by_requests,
            ),
            (
                "llm_d_epp_flow_control_capacity_utilization_bytes",
                "Share of a priority's limit on waiting bytes that all replicas use together",
                by_bytes,
            ),
        ]
    }
}

impl Collector for QueueGauges {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        for (name, help, values) in self.read() {
            let kind = ConstGauge::new(0.0).metric_type();
            let mut encoder = encoder.encode_descriptor(name, help, None, kind)?;
            for (labels, value) in values {
                let labels: Vec<_> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
                ConstGauge::new(value).encode(encoder.encode_family(&labels.as_slice())?)?;
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
    use crate::deciding::admission::NotPicked;
    use crate::deciding::recorder::RequestContext;
    use crate::test_support::{FIRST, picker, prompt_of};

    fn page(picker: Picker) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(QueueGauges(Arc::new(picker))));
        let mut page = String::new();
        encode(&mut page, &registry).unwrap();
        page
    }

    #[test]
    fn queue_and_saturation_have_the_go_epps_names() {
        let picker = picker(&[]);
        let Err(NotPicked::Waits(held)) = picker.pick(prompt_of(4, 256), RequestContext::default()) else {
            panic!("the pool is empty")
        };
        let _place = picker.wait(&held, 50).unwrap();
        let page = page(picker);
        for line in [
            "llm_d_epp_flow_control_queue_size{fairness_id=\"default-flow\",priority=\"0\"} 1",
            "llm_d_epp_flow_control_queue_bytes{fairness_id=\"default-flow\",priority=\"0\"} 50",
            "llm_d_epp_flow_control_pool_saturation{stage=\"effective\"} 1",
            "llm_d_epp_flow_control_capacity_utilization_requests{priority=\"0\"} 0.0002",
        ] {
            assert!(page.contains(line), "{line}\n{page}");
        }
    }

    #[test]
    fn idle_pool_is_not_saturated() {
        let page = page(picker(&[FIRST]));
        assert!(page.contains("saturation{stage=\"effective\"} 0"), "{page}");
        assert!(!page.contains("queue_size{"), "{page}");
    }
}
