//! Checks that a fault had an effect. A fault without an effect tests nothing.

use super::observer::Observations;
use crate::scenario::{Fault, Group, Row};

/// Returns which effect of the row's fault was expected but not observed.
pub(crate) fn missing_effect(row: &Row, observed: &Observations) -> Option<&'static str> {
    let (is_observed, otherwise) = match (row.fault, row.target) {
        (Fault::Cut, _) => (observed.degraded > 0, "no replica became degraded"),
        (Fault::Partition, _) => (observed.owners > 1, "there was no second owner"),
        (Fault::Drain, _) => (observed.fewest_pods < Some(row.pods as f64), "no replica saw fewer pods"),
        (_, Group::Owner | Group::Aggregators | Group::Everything) => {
            (observed.failover.is_some(), "there was no new owner")
        }
        (_, Group::Replica) => (observed.unhealthy > 0, "Envoy considered all replicas healthy"),
        // The other processes have no effect that is visible at once.
        (_, _) => (true, ""),
    };
    (!is_observed).then_some(otherwise)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::missing_effect;
    use crate::observation::observer::Observations;
    use crate::scenario::{ALL, Row};

    fn row(name: &str) -> Row {
        *ALL.iter().find(|row| row.to_string() == name).unwrap()
    }

    #[test]
    fn faults_are_recognized_by_their_effect() {
        let nothing = Observations { owners: 1, fewest_pods: Some(100.0), ..Observations::default() };
        let effects = [
            ("cut-owner", Observations { degraded: 3, ..nothing.clone() }),
            ("partition-owner", Observations { owners: 2, ..nothing.clone() }),
            ("drain-pods", Observations { fewest_pods: Some(80.0), ..nothing.clone() }),
            ("rolling-restart", Observations { failover: Some(Duration::ZERO), ..nothing.clone() }),
            ("kill-owner", Observations { failover: Some(Duration::ZERO), ..nothing.clone() }),
            ("lose-owner", Observations { failover: Some(Duration::ZERO), ..nothing.clone() }),
            ("pause-replica", Observations { unhealthy: 1, ..nothing.clone() }),
        ];
        for (name, observed) in effects {
            assert_eq!(missing_effect(&row(name), &observed), None, "{name}");
            assert!(missing_effect(&row(name), &nothing).is_some(), "{name}");
        }
    }
}
