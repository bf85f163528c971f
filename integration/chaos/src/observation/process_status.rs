//! Parses the metrics of each kind of process.

use std::collections::BTreeMap;

use anyhow::ensure;
use signalbox_integration::MetricsPage;

/// The version and the digests of a process's pool state.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct StateSummary {
    pub(crate) epoch: f64,
    pub(crate) seq: f64,
    /// One digest per kind of change.
    pub(crate) digests: BTreeMap<String, f64>,
}

/// The metrics of an EPP replica.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ReplicaStatus {
    pub(crate) state: StateSummary,
    pub(crate) degraded: f64,
    pub(crate) own_bookings: f64,
    pub(crate) peer_bookings: f64,
    pub(crate) unacknowledged_placements: f64,
    /// Pods that it knows, whether or not their values are fresh.
    pub(crate) pods: f64,
    /// Those of which its values are fresh.
    pub(crate) fresh_pods: f64,
    /// Aggregators whose streams to it are open.
    pub(crate) aggregators: f64,
    /// How often it took a new origin, since the start of the process.
    pub(crate) origin_renewals: f64,
    /// Snapshots that replaced the view, since the start of the process.
    pub(crate) snapshots: f64,
    /// Divergences since the start of the process.
    pub(crate) divergences: f64,
}

/// The metrics of an aggregator.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct AggregatorStatus {
    pub(crate) state: StateSummary,
    /// 1 if it owns the pool.
    pub(crate) owner: f64,
    pub(crate) bookings: f64,
    /// Origins that were silent for too long, since the start of the process.
    pub(crate) origins_expired: f64,
}

/// The metrics of a collector.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CollectorStatus {
    /// Endpoints assigned to it; `None` before its first assignment.
    pub(crate) endpoints: Option<f64>,
}

/// The metrics of the pod that a fault makes fail.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PodStatus {
    /// Requests that it failed because of the fault.
    pub(crate) errors: f64,
    /// Requests that it served to the end.
    pub(crate) served: f64,
}

impl StateSummary {
    /// Reads the state from the metrics with these names.
    fn from_page(page: &MetricsPage, [epoch, seq, digest]: [&str; 3]) -> anyhow::Result<Self> {
        let digests = page.by_label(digest, "kind");
        ensure!(!digests.is_empty(), "the metrics page has no {digest}");
        Ok(Self { epoch: page.value(epoch)?, seq: page.value(seq)?, digests })
    }
}

impl ReplicaStatus {
    pub(crate) fn from_page(page: &MetricsPage) -> anyhow::Result<Self> {
        let value = |name: &str| page.value(&format!("signalbox_epp_{name}"));
        let state = ["view_epoch", "view_seq", "view_digest"].map(|name| format!("signalbox_epp_{name}"));
        Ok(Self {
            state: StateSummary::from_page(page, state.each_ref().map(String::as_str))?,
            degraded: value("degraded")?,
            own_bookings: value("own_in_flight_requests")?,
            peer_bookings: value("peer_in_flight_requests")?,
            unacknowledged_placements: value("unacknowledged_placements")?,
            pods: value("endpoints")?,
            fresh_pods: value("fresh_endpoints")?,
            aggregators: value("connected_aggregators")?,
            origin_renewals: value("origin_renewals_total")?,
            snapshots: value("snapshots_applied_total")?,
            divergences: value("divergences_total")?,
        })
    }
}

impl AggregatorStatus {
    pub(crate) fn from_page(page: &MetricsPage) -> anyhow::Result<Self> {
        let value = |name: &str| page.value(&format!("signalbox_aggregator_{name}"));
        let state = ["epoch", "seq", "state_digest"].map(|name| format!("signalbox_aggregator_{name}"));
        Ok(Self {
            state: StateSummary::from_page(page, state.each_ref().map(String::as_str))?,
            owner: value("owner")?,
            bookings: value("in_flight_requests")?,
            origins_expired: value("origins_expired_total")?,
        })
    }
}

impl CollectorStatus {
    pub(crate) fn from_page(page: &MetricsPage) -> anyhow::Result<Self> {
        // This counter is always there, so that without it the page is of something else.
        page.value("signalbox_collector_streams_opened_total")?;
        Ok(Self { endpoints: page.sum("signalbox_collector_endpoints") })
    }
}

impl PodStatus {
    pub(crate) fn from_page(page: &MetricsPage) -> anyhow::Result<Self> {
        let reasons = page.by_label("vllm:request_success_total", "finished_reason");
        let served = ["stop", "length"].iter().filter_map(|reason| reasons.get(*reason));
        ensure!(served.clone().count() == 2, "the pod's metrics page has no vllm:request_success_total");
        Ok(Self { errors: page.value("modelsim_injected_errors_total")?, served: served.sum() })
    }
}

#[cfg(test)]
mod tests {
    use signalbox_integration::MetricsPage;

    use super::{AggregatorStatus, CollectorStatus, PodStatus, ReplicaStatus};

    const REPLICA: &str = "view_epoch 7\nview_seq 9\nview_digest{kind=\"load\"} 5\ndegraded 0\n\
        own_in_flight_requests 1\npeer_in_flight_requests 2\nunacknowledged_placements 3\nendpoints 9\n\
        fresh_endpoints 8\nconnected_aggregators 3\norigin_renewals_total 0\nsnapshots_applied_total 1\ndivergences_total 0\n";

    const AGGREGATOR: &str = "epoch 7\nseq 9\nstate_digest{kind=\"load\"} 5\nowner 1\nin_flight_requests 3\n\
        origins_expired_total 0\n";

    const POD: &str = "vllm:request_success_total{finished_reason=\"stop\"} 1\n\
        vllm:request_success_total{finished_reason=\"length\"} 2\nmodelsim_injected_errors_total 4\n";

    /// Returns the metrics page with these lines and without the one at `left_out`.
    fn page(prefix: &str, lines: &str, left_out: Option<usize>) -> MetricsPage {
        let lines = lines.lines().enumerate().filter(|(index, _)| Some(*index) != left_out);
        MetricsPage::new(lines.map(|(_, line)| format!("{prefix}{line}\n")).collect())
    }

    /// Checks that a page can be read, but not if any of its lines is missing.
    fn check<T>(prefix: &str, lines: &str, read: fn(&MetricsPage) -> anyhow::Result<T>) -> T {
        for left_out in 0..lines.lines().count() {
            assert!(read(&page(prefix, lines, Some(left_out))).is_err(), "line {left_out} of {lines}");
        }
        read(&page(prefix, lines, None)).unwrap()
    }

    #[test]
    fn missing_metrics_are_errors() {
        let replica = check("signalbox_epp_", REPLICA, ReplicaStatus::from_page);
        assert_eq!((replica.state.epoch, replica.own_bookings, replica.aggregators), (7.0, 1.0, 3.0));
        assert_eq!((replica.pods, replica.fresh_pods), (9.0, 8.0));
        let aggregator = check("signalbox_aggregator_", AGGREGATOR, AggregatorStatus::from_page);
        assert_eq!((aggregator.owner, aggregator.bookings), (1.0, 3.0));
        assert_eq!(check("", POD, PodStatus::from_page), PodStatus { errors: 4.0, served: 3.0 });
        check("signalbox_collector_", "streams_opened_total 1\n", CollectorStatus::from_page);
    }

    #[test]
    fn collector_without_an_assignment_has_an_unknown_number_of_endpoints() {
        let endpoints =
            |lines| CollectorStatus::from_page(&page("signalbox_collector_", lines, None)).unwrap().endpoints;
        assert_eq!(endpoints("streams_opened_total 1\n"), None);
        let both = "streams_opened_total 1\nendpoints{scrape_status=\"fresh\"} 3\nendpoints{scrape_status=\"stale\"} 1\n";
        assert_eq!(endpoints(both), Some(4.0));
    }
}
