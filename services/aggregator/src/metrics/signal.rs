//! Metrics of the autoscaling signal. Only the owner of a pool exports them, so that each series exists once. What is not known
//! has no series.

use std::fmt::Error;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use signalbox_signal::{Coverage, Group, GroupSignal, Metric, ReplicaCounts};
use signalbox_state::RoleStatus;

use super::PoolLabel;
use crate::pools::{PoolHandle, Pools, PublishedSignal};

/// Reads the signals when metrics are collected.
#[derive(Debug)]
struct SignalCollector(Pools);

/// The signal of a pool that this aggregator owns.
struct Owned {
    pool: String,
    published: PublishedSignal,
}

#[derive(EncodeLabelSet)]
struct GroupLabels {
    pool: String,
    role: &'static str,
    deployment: String,
}

#[derive(EncodeLabelSet)]
struct StateLabels {
    pool: String,
    role: &'static str,
    deployment: String,
    state: &'static str,
}

#[derive(EncodeLabelSet)]
struct ReasonLabels {
    pool: String,
    role: &'static str,
    deployment: String,
    reason: &'static str,
}

#[derive(EncodeLabelSet)]
struct SourceLabels {
    pool: String,
    source: &'static str,
}

#[derive(EncodeLabelSet)]
struct AdapterLabels {
    pool: String,
    adapter: String,
}

/// Returns a registry with the metrics of the signals of `pools`. Their names have no prefix of a service: they are the same
/// wherever autoscalers ask for them.
pub(crate) fn signal_registry(pools: &Pools) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(SignalCollector(pools.clone())));
    registry
}

impl Collector for SignalCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let owned: Vec<_> = self.0.all().iter().filter_map(|handle| Owned::of(handle)).collect();
        for metric in Metric::ALL {
            encode_metric(&mut encoder, &owned, metric)?;
        }
        let valid = owned.iter().map(|of| (of.label(), u8::from(of.is_valid()).into()));
        encode(&mut encoder, "signalbox_signal_valid", "1 if the signal of the pool can be used", valid)?;
        encode_details(&mut encoder, &owned)
    }
}

impl Owned {
    fn of(handle: &PoolHandle) -> Option<Self> {
        let is_owner = matches!(*handle.status.borrow(), RoleStatus::Owner(_));
        let published = handle.signal.get().filter(|_| is_owner)?;
        Some(Self { pool: handle.pool.to_string(), published: PublishedSignal::clone(&published) })
    }

    /// Returns whether the signal can be used.
    fn is_valid(&self) -> bool {
        self.published.read(Metric::Active, |_| true).is_ok()
    }

    fn label(&self) -> PoolLabel {
        PoolLabel { pool: self.pool.clone() }
    }

    fn group_labels(&self, Group { role, deployment }: &Group) -> GroupLabels {
        GroupLabels { pool: self.pool.clone(), role: role.name(), deployment: deployment.to_string() }
    }

    fn groups(&self) -> impl Iterator<Item = (GroupLabels, &GroupSignal)> {
        self.published.signal.groups.iter().map(|of| (self.group_labels(&of.group), of))
    }
}

fn encode_metric(encoder: &mut DescriptorEncoder<'_>, owned: &[Owned], metric: Metric) -> Result<(), Error> {
    let (name, help) = (metric.name(), metric.help());
    let value = |milli: u64| milli as f64 / 1e3;
    if !metric.is_of_group() {
        let read = |of: &Owned| Some((of.label(), value(of.published.read(metric, |_| true).ok()?)));
        return encode(encoder, name, help, owned.iter().filter_map(read));
    }
    let read = |of: &Owned| -> Vec<_> {
        let groups = of.groups().filter_map(|(labels, signal)| {
            let milli = of.published.read(metric, |group| *group == signal.group).ok()?;
            Some((labels, value(milli)))
        });
        groups.collect()
    };
    encode(encoder, name, help, owned.iter().flat_map(read))
}

/// Encodes what explains the numbers.
fn encode_details(encoder: &mut DescriptorEncoder<'_>, owned: &[Owned]) -> Result<(), Error> {
    let coverage = owned.iter().flat_map(|of| {
        let Coverage { pods_percent, epp_replicas_percent } = of.published.signal.coverage;
        [("pods", pods_percent), ("replicas", epp_replicas_percent)].map(|(source, percent)| {
            (SourceLabels { pool: of.pool.clone(), source }, f64::from(percent) / 100.0)
        })
    });
    let help = "Part of the pool's pods and EPP replicas that is known";
    encode(encoder, "signalbox_signal_coverage_ratio", help, coverage)?;
    let valid = || owned.iter().filter(|of| of.is_valid());
    let reasons = valid().flat_map(Owned::groups).map(|(labels, signal)| {
        let GroupLabels { pool, role, deployment } = labels;
        (ReasonLabels { pool, role, deployment, reason: signal.reason.name() }, 1.0)
    });
    encode(encoder, "signalbox_signal_reason", "What decides how many replicas there should be", reasons)?;
    let replicas = valid().flat_map(Owned::groups).flat_map(|(labels, signal)| {
        states(signal.replicas).map(|(state, count)| {
            let GroupLabels { pool, role, deployment } = &labels;
            let (pool, deployment) = (pool.clone(), deployment.clone());
            (StateLabels { pool, role, deployment, state }, f64::from(count))
        })
    });
    encode(encoder, "signalbox_replicas", "Replicas by state", replicas)?;
    let adapters = valid().flat_map(|of| {
        of.published.signal.adapters.iter().map(|of_adapter| {
            let labels = AdapterLabels { pool: of.pool.clone(), adapter: of_adapter.adapter.to_string() };
            (labels, of_adapter.demand_milli as f64 / 1e3)
        })
    });
    let help = "Replicas that the requests of a LoRA adapter keep busy";
    encode(encoder, "signalbox_adapter_demand_replicas", help, adapters)
}

fn states(
    ReplicaCounts { ready, warming, draining, stale, failed }: ReplicaCounts,
) -> [(&'static str, u32); 5] {
    [("ready", ready), ("warming", warming), ("draining", draining), ("stale", stale), ("failed", failed)]
}

/// Encodes gauges of one name; nothing if there are none.
fn encode<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    gauges: impl Iterator<Item = (L, f64)>,
) -> Result<(), Error> {
    let mut gauges = gauges.peekable();
    if gauges.peek().is_none() {
        return Ok(());
    }
    let mut encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in gauges {
        ConstGauge::new(value).encode(encoder.encode_family(&labels)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use prometheus_client::encoding::text;
    use signalbox_signal::{Certainty, Reason, Role, Signal};
    use signalbox_types::PoolId;

    use super::*;

    fn handle() -> Arc<PoolHandle> {
        let pool = PoolId { namespace: "n".to_owned(), name: "p".to_owned() };
        Arc::new(PoolHandle::new(pool, Duration::ZERO))
    }

    fn signal(certainty: Certainty) -> Arc<Signal> {
        let group = Group { role: Role::Both, deployment: "big".into() };
        let group = GroupSignal { group, desired: 3, reason: Reason::Rate, ..GroupSignal::default() };
        Arc::new(Signal { certainty, groups: vec![group], ..Signal::default() })
    }

    fn lines(registry: &Registry) -> Vec<String> {
        let mut page = String::new();
        text::encode(&mut page, registry).unwrap();
        page.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    #[test]
    fn only_the_owner_exports_and_only_what_is_known() {
        let (pools, handle) = (Pools::default(), handle());
        pools.insert(Arc::clone(&handle));
        let registry = signal_registry(&pools);
        handle.signal.publish(&signal(Certainty::Complete), 0);
        assert_eq!(Vec::<String>::new(), lines(&registry), "a standby exports nothing");
        handle.set_status(RoleStatus::Owner(1));
        let known = lines(&registry);
        let has = |line: &str| assert!(known.iter().any(|found| found == line), "{line}: {known:#?}");
        has(r#"signalbox_desired_replicas{pool="n/p",role="both",deployment="big"} 3.0"#);
        has(r#"signalbox_active{pool="n/p"} 0.0"#);
        has(r#"signalbox_signal_valid{pool="n/p"} 1.0"#);
        has(r#"signalbox_signal_reason{pool="n/p",role="both",deployment="big",reason="rate"} 1.0"#);
        has(r#"signalbox_replicas{pool="n/p",role="both",deployment="big",state="ready"} 0.0"#);
        assert!(!known.iter().any(|line| line.starts_with("signalbox_utilization_ratio")), "not measured");
        handle.signal.publish(&signal(Certainty::Insufficient), 0);
        let coverage =
            |source| format!(r#"signalbox_signal_coverage_ratio{{pool="n/p",source="{source}"}} 0.0"#);
        let expected =
            [r#"signalbox_signal_valid{pool="n/p"} 0.0"#.to_owned(), coverage("pods"), coverage("replicas")];
        assert_eq!(expected.to_vec(), lines(&registry));
    }
}
