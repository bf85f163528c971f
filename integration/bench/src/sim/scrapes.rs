//! Who scrapes which pods when: Signalbox's collector for all replicas, or each replica for itself.

use std::ops::Range;

use rand::Rng;
use rand::rngs::SmallRng;
use signalbox_state::{EndpointObserver, ScrapeResult, Update};
use signalbox_types::EndpointKey;

use super::pods::Pod;
use crate::policies::Visibility;

/// Interval between two scrapes of a model server, of Signalbox's collector and of the Go EPP.
pub(super) const SCRAPE_INTERVAL_US: u64 = 50_000;

/// Time after which an endpoint without a scrape is stale.
const STALE_AFTER_MS: u64 = 2_000;

/// Scrapes some pods at the same time, for one owner of state.
pub(super) struct Scraper {
    /// The owner to which it reports.
    pub(super) owner: usize,
    /// Time of its first scrape.
    pub(super) phase_us: u64,
    pods: Range<usize>,
    /// What was reported of each pod.
    observers: Vec<EndpointObserver>,
}

impl Scraper {
    fn new(owner: usize, phase_us: u64, pods: Range<usize>) -> Self {
        let observers = pods.clone().map(|_| EndpointObserver::new(0, STALE_AFTER_MS)).collect();
        Self { owner, phase_us, pods, observers }
    }

    /// Returns the scrapers of `pods` pods for `owners` owners.
    ///
    /// Signalbox's collector scrapes each pod at a phase of its own. A replica that scrapes for itself starts a
    /// ticker for each pod when it starts, so that all have the replica's phase, which is random.
    pub(super) fn of(visibility: Visibility, owners: usize, pods: usize, rng: &mut SmallRng) -> Vec<Self> {
        match visibility {
            Visibility::Pool => {
                let phase_us = |pod| pod as u64 * SCRAPE_INTERVAL_US / pods as u64;
                (0..pods).map(|pod| Self::new(0, phase_us(pod), pod..pod + 1)).collect()
            }
            Visibility::Own => {
                let own = |owner| Self::new(owner, rng.random_range(0..SCRAPE_INTERVAL_US), 0..pods);
                (0..owners).map(own).collect()
            }
        }
    }

    /// Scrapes its pods; returns what has changed.
    pub(super) fn scrape(&mut self, now_ms: u64, pods: &[Pod]) -> Vec<(EndpointKey, Update)> {
        let observed = pods[self.pods.clone()].iter().zip(&mut self.observers);
        let updates = observed.filter_map(|(pod, observer)| {
            let update = observer.observe(now_ms, ScrapeResult::Sampled(pod.sample()))?;
            Some((pod.key, update))
        });
        updates.collect()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn each_replica_that_scrapes_for_itself_has_a_phase_of_its_own() {
        let scrapers = Scraper::of(Visibility::Own, 4, 8, &mut SmallRng::seed_from_u64(1));
        let mut phases: Vec<_> = scrapers.iter().map(|scraper| scraper.phase_us).collect();
        phases.sort_unstable();
        phases.dedup();
        assert_eq!(4, phases.len());
        assert!(scrapers.iter().all(|scraper| scraper.pods == (0..8)));
    }
}
