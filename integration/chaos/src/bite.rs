//! Whether a fault did what it is meant to do: one that nobody feels proves nothing.

use crate::cast::Group;
use crate::rows::{Fault, Row};
use crate::watch::Sightings;

/// What should have been seen of a fault and was not.
pub(crate) fn toothless(row: &Row, seen: &Sightings) -> Option<&'static str> {
    let (bit, otherwise) = match (row.fault, row.target) {
        (Fault::Cut, _) => (seen.degraded > 0, "no replica missed the owner"),
        (Fault::Split, _) => (seen.owners > 1, "there was no second owner"),
        (Fault::Drain, _) => (seen.fewest_pods < Some(row.pods as f64), "no replica saw fewer pods"),
        (_, Group::Owner | Group::Aggregators | Group::Everything) => {
            (seen.failover.is_some(), "there was no new owner")
        }
        (_, Group::Replica) => (seen.unhealthy > 0, "Envoy never missed a replica"),
        // A process that ended, or stands still, and that nobody misses at once.
        (_, _) => (true, ""),
    };
    (!bit).then_some(otherwise)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::toothless;
    use crate::rows::{ALL, Row};
    use crate::watch::Sightings;

    fn row(name: &str) -> Row {
        *ALL.iter().find(|row| row.to_string() == name).unwrap()
    }

    #[test]
    fn faults_are_known_by_what_they_do() {
        let nothing = Sightings { owners: 1, fewest_pods: Some(100.0), ..Sightings::default() };
        let bites = [
            ("cut-owner", Sightings { degraded: 3, ..nothing.clone() }),
            ("split-owner", Sightings { owners: 2, ..nothing.clone() }),
            ("drain-pods", Sightings { fewest_pods: Some(80.0), ..nothing.clone() }),
            ("roll-everything", Sightings { failover: Some(Duration::ZERO), ..nothing.clone() }),
            ("kill-owner", Sightings { failover: Some(Duration::ZERO), ..nothing.clone() }),
            ("pause-replica", Sightings { unhealthy: 1, ..nothing.clone() }),
        ];
        for (name, seen) in bites {
            assert_eq!(toothless(&row(name), &seen), None, "{name}");
            assert!(toothless(&row(name), &nothing).is_some(), "{name}");
        }
    }
}
