//! What waits to be reported.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use signalbox_actors::Slot;
use signalbox_state::{Report, Update};
use signalbox_types::{EndpointKey, Generation};

/// Updates of one endpoint that were not sent yet, merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    /// The assignment they were read under.
    pub(crate) generation: Generation,
    /// When the values were read, by the collector's clock.
    pub(crate) read_at_ms: u64,
    /// What changed.
    pub(crate) update: Update,
}

impl Pending {
    /// Lays a later one over this one. A new assignment begins with everything, so nothing of an older one is kept.
    fn merge(&mut self, later: Self) {
        if later.generation == self.generation {
            self.read_at_ms = later.read_at_ms;
            self.update.merge(later.update);
        } else if later.generation > self.generation {
            *self = later;
        }
    }
}

/// The reports that wait, one for each endpoint however often it changed.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    slot: Slot<BTreeMap<EndpointKey, Pending>>,
}

impl Outbox {
    /// Adds what changed at an endpoint.
    pub(crate) fn put(&self, endpoint: EndpointKey, pending: Pending) {
        self.slot.put(BTreeMap::from([(endpoint, pending)]), |waiting, later| {
            for (endpoint, pending) in later {
                match waiting.entry(endpoint) {
                    Entry::Occupied(entry) => entry.into_mut().merge(pending),
                    Entry::Vacant(entry) => {
                        entry.insert(pending);
                    }
                }
            }
        });
    }

    /// All that waits, as soon as something does.
    pub(crate) async fn take(&self) -> BTreeMap<EndpointKey, Pending> {
        self.slot.take().await
    }
}

/// What waited, as it is reported at `now_ms`.
pub(crate) fn reports(waiting: BTreeMap<EndpointKey, Pending>, now_ms: u64) -> Vec<Report> {
    let report = |(endpoint, pending): (EndpointKey, Pending)| Report {
        endpoint,
        generation: pending.generation,
        age_ms: now_ms.saturating_sub(pending.read_at_ms),
        update: pending.update,
    };
    waiting.into_iter().map(report).collect()
}

#[cfg(test)]
mod tests {
    use signalbox_state::ScrapeStatus;
    use signalbox_types::{Capacity, Gauges};

    use super::*;

    const POD: EndpointKey = EndpointKey(1);

    fn pending(generation: u64, read_at_ms: u64, running: u32) -> Pending {
        let gauges = Some(Gauges { running, ..Gauges::default() });
        let update = Update { scrape_status: ScrapeStatus::Fresh, gauges, ..Update::default() };
        Pending { generation: Generation(generation), read_at_ms, update }
    }

    #[tokio::test]
    async fn an_endpoint_is_reported_once_with_all_that_changed() {
        let outbox = Outbox::default();
        let mut first = pending(1, 50, 1);
        first.update.capacity = Some(Capacity { kv_tokens: 9 });
        outbox.put(POD, first);
        outbox.put(EndpointKey(2), pending(1, 60, 5));
        outbox.put(POD, pending(1, 100, 2));
        let reports = reports(outbox.take().await, 120);
        let mut expected = pending(1, 100, 2).update;
        expected.capacity = Some(Capacity { kv_tokens: 9 });
        assert_eq!(reports.len(), 2);
        assert_eq!((reports[0].age_ms, &reports[0].update), (20, &expected));
    }

    #[tokio::test]
    async fn a_later_assignment_puts_the_earlier_out_of_force() {
        let outbox = Outbox::default();
        outbox.put(POD, pending(2, 100, 2));
        outbox.put(POD, pending(3, 110, 3));
        outbox.put(POD, pending(2, 120, 4));
        assert_eq!(outbox.take().await, BTreeMap::from([(POD, pending(3, 110, 3))]));
    }
}
