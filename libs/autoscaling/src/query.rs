//! Which number of a pool is asked for.

use signalbox_signal::{Group, Metric, Signal, Unavailable};
use signalbox_types::PoolId;
use thiserror::Error;

use crate::signals::{Latest, Signals};

/// The labels of a group of pods.
pub(crate) const ROLE: &str = "role";
pub(crate) const DEPLOYMENT: &str = "deployment";

/// Pools that an error lists at most.
const MAX_LISTED: usize = 10;

/// There is no number.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum NoNumber {
    /// The question cannot be answered as it is.
    #[error("{0}")]
    Ambiguous(String),
    /// What is known of the pool is too little, or too old.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Reads a metric of the groups that are selected, in thousandths.
pub(crate) fn number(
    latest: &Latest,
    metric: Metric,
    is_selected: impl Fn(&Group) -> bool,
) -> Result<u64, NoNumber> {
    let signal = latest.usable()?;
    if counts_replicas(metric) {
        let selected = || signal.groups.iter().map(|of| &of.group).filter(|group| is_selected(group));
        if selected().count() > 1 {
            let groups = selected().map(described).collect::<Vec<_>>().join("; ");
            return Err(NoNumber::Ambiguous(format!(
                "several groups of pods are selected, which are scaled separately: {groups}; select one by its labels \
                 {ROLE} and {DEPLOYMENT}"
            )));
        }
    }
    match signal.read(latest.now_ms, metric, &is_selected) {
        Err(Unavailable::NoSuchGroup) => Err(NoNumber::Ambiguous(no_group(signal))),
        read => Ok(read?),
    }
}

/// Whether the metric is a number of replicas. The replicas of a group are those of one Deployment, so a sum over groups
/// would be too many for each.
pub(crate) fn counts_replicas(metric: Metric) -> bool {
    matches!(metric, Metric::DesiredReplicas | Metric::DemandReplicas | Metric::KvDemandReplicas)
}

fn no_group(signal: &Signal) -> String {
    let groups: Vec<String> = signal.groups.iter().map(|of| described(&of.group)).collect();
    let groups = if groups.is_empty() { "none".to_owned() } else { groups.join("; ") };
    format!("no group of pods has these labels; there are: {groups}")
}

fn described(group: &Group) -> String {
    match &*group.deployment {
        "" => format!("{ROLE}={}", group.role),
        deployment => format!("{ROLE}={}, {DEPLOYMENT}={deployment}", group.role),
    }
}

/// Lists the pools of a namespace for an error.
pub(crate) fn known_pools(signals: &impl Signals, namespace: &str) -> String {
    let pools = signals.pools(namespace);
    let listed = pools.iter().take(MAX_LISTED).map(|PoolId { name, .. }| name.as_str());
    let listed = listed.collect::<Vec<_>>().join(", ");
    match pools.len().saturating_sub(MAX_LISTED) {
        0 if pools.is_empty() => "none".to_owned(),
        0 => listed,
        more => format!("{listed} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use signalbox_signal::{Certainty, GroupSignal, Role};

    use super::*;

    fn latest(groups: &[(Role, &str, u32)]) -> Latest {
        let group = |(role, deployment, desired): &(Role, &str, u32)| GroupSignal {
            group: Group { role: *role, deployment: (*deployment).into() },
            desired: *desired,
            utilization_milli: Some(u64::from(*desired) * 100),
            ..GroupSignal::default()
        };
        let groups = groups.iter().map(group).collect();
        let signal = Signal { certainty: Certainty::Complete, groups, ..Signal::default() };
        Latest { signal: Some(Arc::new(signal)), now_ms: 0 }
    }

    #[test]
    fn replicas_are_those_of_one_group() {
        let two = latest(&[(Role::Both, "large", 2), (Role::Both, "small", 3)]);
        let of = |name: &'static str| move |group: &Group| &*group.deployment == name;
        assert_eq!(Ok(3_000), number(&two, Metric::DesiredReplicas, of("small")));
        let refused = number(&two, Metric::DesiredReplicas, |_| true).unwrap_err().to_string();
        assert!(refused.contains("role=both, deployment=large; role=both, deployment=small"), "{refused}");
        let refused = number(&two, Metric::DesiredReplicas, of("tiny")).unwrap_err().to_string();
        assert!(refused.contains("there are: role=both, deployment=large"), "{refused}");
        assert_eq!(Ok(300), number(&two, Metric::Utilization, |_| true));
    }

    #[test]
    fn every_metric_is_documented() {
        let page = include_str!("../../../docs/AUTOSCALING.md");
        let rows = || page.lines().filter(|line| line.starts_with("| `signalbox_"));
        for metric in Metric::ALL {
            let name = format!("`{metric}`");
            assert_eq!(1, rows().filter(|row| row.contains(&name)).count(), "{name}");
        }
    }

    #[test]
    fn what_is_not_known_is_no_number() {
        let unknown = number(&Latest::default(), Metric::Active, |_| true);
        assert_eq!(Err(NoNumber::Unavailable(Unavailable::Unknown)), unknown);
        let old = Latest { now_ms: 60_000, ..latest(&[(Role::Both, "", 1)]) };
        let stale = NoNumber::Unavailable(Unavailable::Stale { age_ms: 60_000 });
        assert_eq!(Err(stale), number(&old, Metric::DesiredReplicas, |_| true));
    }
}
