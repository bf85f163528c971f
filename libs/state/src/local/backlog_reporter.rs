//! Tells which backlogs a replica has to report.

use std::collections::BTreeMap;

use signalbox_flow::{Backlog, FlowKey, Usage};

use crate::reports::GaugeScope;

/// What a replica has reported of each flow. For how long requests have waited is told along, but is no change.
#[derive(Debug, Default)]
pub struct BacklogReporter {
    /// What waits, and up to which number grants were used.
    reported: BTreeMap<FlowKey, (Usage, u64)>,
}

impl BacklogReporter {
    /// Returns the backlogs for the next batch: those of all flows of which something waits, or those that changed since they
    /// were last returned. `backlogs` are those of all flows that are known.
    pub fn report<'a>(
        &mut self,
        scope: GaugeScope,
        backlogs: impl IntoIterator<Item = (&'a FlowKey, Backlog)>,
    ) -> Vec<(FlowKey, Backlog)> {
        let mut gone = std::mem::take(&mut self.reported);
        let mut changed = Vec::new();
        for (flow, backlog) in backlogs {
            let value = (backlog.usage, backlog.released);
            let before = gone.remove(flow);
            let is_told = match scope {
                GaugeScope::All => backlog.usage.requests > 0,
                GaugeScope::Changed => before != Some(value),
            };
            if is_told {
                changed.push((flow.clone(), backlog));
            }
            if backlog.usage.requests > 0 {
                self.reported.insert(flow.clone(), value);
            }
        }
        // Flows that are no longer known: nothing waits of them.
        if scope == GaugeScope::Changed {
            let nothing = |released| Backlog { usage: Usage::default(), oldest_wait_ms: 0, released };
            changed.extend(gone.into_iter().map(|(flow, (_, released))| (flow, nothing(released))));
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backlog(requests: u64, oldest_wait_ms: u64) -> Backlog {
        Backlog { usage: Usage { requests, ..Usage::default() }, oldest_wait_ms, released: 3 }
    }

    #[test]
    fn what_changed_is_reported_once_and_all_on_demand() {
        let mut reporter = BacklogReporter::default();
        let (a, b) = (FlowKey::new(0, "a"), FlowKey::new(0, "b"));
        let flows = [(&a, backlog(2, 10)), (&b, backlog(1, 5))];
        assert_eq!(2, reporter.report(GaugeScope::Changed, flows).len());
        let later = [(&a, backlog(2, 20)), (&b, backlog(0, 0))];
        assert_eq!(vec![(b.clone(), backlog(0, 0))], reporter.report(GaugeScope::Changed, later));
        assert_eq!(
            vec![(a.clone(), backlog(2, 30))],
            reporter.report(GaugeScope::All, [(&a, backlog(2, 30))])
        );
        assert_eq!(vec![(a.clone(), backlog(0, 0))], reporter.report(GaugeScope::Changed, []));
        assert!(reporter.report(GaugeScope::Changed, []).is_empty());
    }
}
