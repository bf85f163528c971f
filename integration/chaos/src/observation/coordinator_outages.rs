//! Counts in the logs of the aggregators how often they lost etcd, and had it again.

use std::collections::BTreeMap;
use std::fs;

use signalbox_integration::TestDir;

use crate::process_id::ProcessId;

/// What an aggregator logs when it cannot renew its lease, and when it can again.
const LOST: &str = "registered with etcd; retrying";
const REGAINED: &str = "is registered with etcd";

/// How often an aggregator lost etcd, and had it again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outages {
    pub(super) lost: usize,
    pub(super) regained: usize,
}

/// The outages of each aggregator since its cluster started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CoordinatorOutages(pub(super) BTreeMap<ProcessId, Outages>);

impl CoordinatorOutages {
    /// Counts the outages in all logs of the first `aggregators` aggregators.
    ///
    /// # Errors
    /// Fails when a log cannot be read.
    pub(crate) fn read(dir: &TestDir, aggregators: usize) -> anyhow::Result<Self> {
        let mut outages = BTreeMap::new();
        for id in (0..aggregators).map(ProcessId::Aggregator) {
            let (begin, mut counts) = (format!("{id}."), Outages::default());
            for file in fs::read_dir(dir.path())? {
                let path = file?.path();
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                if name.starts_with(&begin) && name.ends_with(".log") {
                    counts.add(&fs::read_to_string(&path)?);
                }
            }
            outages.insert(id, counts);
        }
        Ok(Self(outages))
    }

    /// Returns the outages after `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let later = self.0.iter().map(|(id, now)| {
            let then = before.0.get(id).copied().unwrap_or_default();
            (*id, Outages { lost: now.lost - then.lost, regained: now.regained - then.regained })
        });
        Self(later.collect())
    }
}

impl Outages {
    fn add(&mut self, log: &str) {
        self.lost += log.lines().filter(|line| line.contains(LOST)).count();
        self.regained += log.lines().filter(|line| line.contains(REGAINED)).count();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use signalbox_integration::TestDir;

    use super::{CoordinatorOutages, Outages};
    use crate::process_id::ProcessId;

    #[test]
    fn outages_are_counted_in_all_logs_of_an_aggregator() {
        let dir = TestDir::new().unwrap();
        let write = |name: &str, lines: &str| fs::write(dir.path().join(name), lines).unwrap();
        let lost = "WARN cannot keep aggregator-0 registered with etcd; retrying error=...\n";
        let regained = "INFO aggregator-0 is registered with etcd\n";
        write("aggregator-0.0.log", &format!("{lost}{regained}"));
        let before = CoordinatorOutages::read(&dir, 1).unwrap();
        write("aggregator-0.1.log", lost);
        write("aggregator-1.0.log", lost);
        let since = CoordinatorOutages::read(&dir, 1).unwrap().since(&before);
        assert_eq!(since.0[&ProcessId::Aggregator(0)], Outages { lost: 1, regained: 0 });
        assert_eq!(before.0[&ProcessId::Aggregator(0)], Outages { lost: 1, regained: 1 });
    }
}
