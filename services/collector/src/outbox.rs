//! Updates that wait to be sent.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use signalbox_actors::ConflatingSlot;
use signalbox_state::{Report, Update};
use signalbox_types::{EndpointKey, Generation};

/// The unsent updates of one endpoint, merged into one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    /// Generation of the assignment under which the values were scraped.
    pub(crate) generation: Generation,
    /// When the values were scraped, in milliseconds of the collector's clock.
    pub(crate) scraped_at_ms: u64,
    /// The changed values.
    pub(crate) update: Update,
}

impl Pending {
    /// Merges a later update into this one. A new assignment starts with a full update, which replaces those
    /// of older assignments.
    fn merge(&mut self, later: Self) {
        if later.generation == self.generation {
            self.scraped_at_ms = later.scraped_at_ms;
            self.update.merge(later.update);
        } else if later.generation > self.generation {
            *self = later;
        }
    }
}

/// The unsent updates: at most one per endpoint, however often it changed.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    slot: ConflatingSlot<BTreeMap<EndpointKey, Pending>>,
}

impl Outbox {
    /// Adds an update of an endpoint.
    pub(crate) fn put(&self, endpoint: EndpointKey, pending: Pending) {
        self.slot.put(BTreeMap::from([(endpoint, pending)]), |stored, later| {
            for (endpoint, pending) in later {
                match stored.entry(endpoint) {
                    Entry::Occupied(entry) => entry.into_mut().merge(pending),
                    Entry::Vacant(entry) => {
                        entry.insert(pending);
                    }
                }
            }
        });
    }

    /// Takes all updates. Waits while there are none.
    pub(crate) async fn take(&self) -> BTreeMap<EndpointKey, Pending> {
        self.slot.take().await
    }
}

/// Converts pending updates to reports that are sent at `now_ms`.
pub(crate) fn reports(pending: BTreeMap<EndpointKey, Pending>, now_ms: u64) -> Vec<Report> {
    let report = |(endpoint, pending): (EndpointKey, Pending)| Report {
        endpoint,
        generation: pending.generation,
        age_ms: now_ms.saturating_sub(pending.scraped_at_ms),
        update: pending.update,
    };
    pending.into_iter().map(report).collect()
}

#[cfg(test)]
mod tests {
    use signalbox_state::ScrapeStatus;
    use signalbox_types::{Capacity, Gauges};

    use super::*;

    const ENDPOINT: EndpointKey = EndpointKey(1);

    fn pending(generation: u64, scraped_at_ms: u64, running: u32) -> Pending {
        let gauges = Some(Gauges { running: Some(running), ..Gauges::default() });
        let update = Update { scrape_status: ScrapeStatus::Fresh, gauges, ..Update::default() };
        Pending { generation: Generation(generation), scraped_at_ms, update }
    }

    #[tokio::test]
    async fn updates_of_one_endpoint_are_merged() {
        let outbox = Outbox::default();
        let mut first = pending(1, 50, 1);
        first.update.capacity = Some(Capacity { kv_tokens: 9 });
        outbox.put(ENDPOINT, first);
        outbox.put(EndpointKey(2), pending(1, 60, 5));
        outbox.put(ENDPOINT, pending(1, 100, 2));
        let reports = reports(outbox.take().await, 120);
        let mut expected = pending(1, 100, 2).update;
        expected.capacity = Some(Capacity { kv_tokens: 9 });
        assert_eq!(reports.len(), 2);
        assert_eq!((reports[0].age_ms, &reports[0].update), (20, &expected));
    }

    #[tokio::test]
    async fn newer_generation_replaces_older_ones() {
        let outbox = Outbox::default();
        outbox.put(ENDPOINT, pending(2, 100, 2));
        outbox.put(ENDPOINT, pending(3, 110, 3));
        outbox.put(ENDPOINT, pending(2, 120, 4));
        assert_eq!(outbox.take().await, BTreeMap::from([(ENDPOINT, pending(3, 110, 3))]));
    }
}
