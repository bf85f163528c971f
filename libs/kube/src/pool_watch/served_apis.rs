//! Which custom resources the API server has. Pure: the answers and the time are parameters.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::objects::{CUSTOM_API_VERSIONS, Resource};

/// The custom resources that the API server has, by API version.
///
/// A known resource is gone when all answers of some time lack it: while an API server starts, it can lack some for
/// a while. Objects of a resource that is really removed are deleted one by one before.
#[derive(Debug)]
pub(super) struct ServedApis {
    /// For how long a known resource must be missing before it is gone.
    gone_after: Duration,
    answered: BTreeSet<&'static str>,
    /// Since when each resource is missing in all answers; `None` if the last answer had it.
    missing_since: BTreeMap<Resource, Option<Instant>>,
}

impl ServedApis {
    pub(super) fn new(gone_after: Duration) -> Self {
        Self { gone_after, answered: BTreeSet::new(), missing_since: BTreeMap::new() }
    }

    /// Takes note of the resources that `api_version` has.
    pub(super) fn observe(&mut self, now: Instant, api_version: &'static str, served: &BTreeSet<Resource>) {
        self.answered.insert(api_version);
        let gone_after = self.gone_after;
        self.missing_since.retain(|resource, since| {
            if resource.api_version != api_version || served.contains(resource) {
                return true;
            }
            now.duration_since(*since.get_or_insert(now)) < gone_after
        });
        self.missing_since.extend(served.iter().map(|resource| (*resource, None)));
    }

    /// Takes note that there was no answer for `api_version`.
    pub(super) fn observe_silence(&mut self, api_version: &'static str) {
        for (resource, since) in &mut self.missing_since {
            if resource.api_version == api_version {
                *since = None;
            }
        }
    }

    /// Takes note that this process may not ask for `api_version`. Unless it can define pools, that counts as an
    /// answer: a version without known resources then has none.
    pub(super) fn observe_refusal(&mut self, api_version: &'static str) {
        self.observe_silence(api_version);
        if Resource::find(api_version, "inferencepools").is_none() {
            self.answered.insert(api_version);
        }
    }

    /// Returns the resources that the API server has, or `None` before there was an answer for every version.
    pub(super) fn served(&self) -> Option<BTreeSet<Resource>> {
        let is_complete = CUSTOM_API_VERSIONS.iter().all(|version| self.answered.contains(version));
        is_complete.then(|| self.missing_since.keys().copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GONE_AFTER: Duration = Duration::from_secs(30);
    const FIRST: &str = CUSTOM_API_VERSIONS[0];

    fn pools() -> BTreeSet<Resource> {
        [Resource::find(FIRST, "inferencepools").unwrap()].into()
    }

    /// What is served after all versions answered, of which the first has pools.
    fn answered() -> (ServedApis, Instant) {
        let (mut apis, now) = (ServedApis::new(GONE_AFTER), Instant::now());
        let [first, others @ ..] = CUSTOM_API_VERSIONS;
        apis.observe(now, first, &pools());
        assert_eq!(None, apis.served());
        others.into_iter().for_each(|version| apis.observe(now, version, &BTreeSet::new()));
        assert_eq!(Some(pools()), apis.served());
        (apis, now)
    }

    #[test]
    fn a_resource_counts_at_once_and_is_gone_when_it_was_missing_for_long() {
        let (mut apis, start) = answered();
        let mut at = |after: Duration, served: &BTreeSet<Resource>| {
            apis.observe(start + after, FIRST, served);
            apis.served().unwrap()
        };
        let (second, none) = (Duration::from_secs(1), BTreeSet::new());
        for missing in 1..30 {
            assert_eq!(pools(), at(second * missing, &none));
        }
        // It is back for a moment.
        assert_eq!(pools(), at(second * 30, &pools()));
        assert_eq!(pools(), at(second * 40, &none));
        assert_eq!(pools(), at(second * 69, &none));
        assert_eq!(none, at(second * 70, &none));
        assert_eq!(pools(), at(second * 71, &pools()));
    }

    #[test]
    fn silence_and_refusals_interrupt_an_absence() {
        for interrupt in [ServedApis::observe_silence, ServedApis::observe_refusal] {
            let (mut apis, start) = answered();
            apis.observe(start, FIRST, &BTreeSet::new());
            interrupt(&mut apis, FIRST);
            apis.observe(start + GONE_AFTER, FIRST, &BTreeSet::new());
            assert_eq!(Some(pools()), apis.served());
            apis.observe(start + GONE_AFTER * 2, FIRST, &BTreeSet::new());
            assert_eq!(Some(BTreeSet::new()), apis.served());
        }
    }

    #[test]
    fn only_a_version_without_pools_may_be_refused() {
        let (mut apis, now) = (ServedApis::new(GONE_AFTER), Instant::now());
        CUSTOM_API_VERSIONS.into_iter().for_each(|version| apis.observe_refusal(version));
        assert_eq!(None, apis.served());
        for version in CUSTOM_API_VERSIONS.into_iter().filter(|version| *version != "llm-d.ai/v1alpha2") {
            assert_eq!(None, apis.served());
            apis.observe(now, version, &BTreeSet::new());
        }
        assert_eq!(Some(BTreeSet::new()), apis.served());
    }
}
