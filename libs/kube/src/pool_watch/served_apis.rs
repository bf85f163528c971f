//! Which custom resources the API server has. Pure: the answers are parameters.

use std::collections::{BTreeMap, BTreeSet};

use crate::objects::{CUSTOM_API_VERSIONS, Resource};

/// In how many answers in a row a known resource must be missing before it counts as gone. While an API
/// server starts, it can lack some for a moment.
const MISSES: u32 = 2;

/// The custom resources that the API server has, by API version.
#[derive(Debug, Default)]
pub(super) struct ServedApis {
    answered: BTreeSet<&'static str>,
    /// In how many answers in a row each resource was missing.
    misses: BTreeMap<Resource, u32>,
}

impl ServedApis {
    /// Takes note of the resources that `api_version` has.
    pub(super) fn observe(&mut self, api_version: &'static str, served: &BTreeSet<Resource>) {
        self.answered.insert(api_version);
        for (resource, misses) in &mut self.misses {
            if resource.api_version == api_version {
                *misses += 1;
            }
        }
        self.misses.extend(served.iter().map(|resource| (*resource, 0)));
        self.misses.retain(|_, misses| *misses < MISSES);
    }

    /// Takes note that this process may not ask for `api_version`.
    pub(super) fn observe_refusal(&mut self, api_version: &'static str) {
        self.answered.insert(api_version);
    }

    /// Returns the resources that the API server has, or `None` before there was an answer for every version.
    pub(super) fn served(&self) -> Option<BTreeSet<Resource>> {
        let is_complete = CUSTOM_API_VERSIONS.iter().all(|version| self.answered.contains(version));
        is_complete.then(|| self.misses.keys().copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_counts_at_once_and_is_gone_after_two_answers_without_it() {
        let [first, others @ ..] = CUSTOM_API_VERSIONS;
        let pools = BTreeSet::from([Resource::find(first, "inferencepools").unwrap()]);
        let mut apis = ServedApis::default();
        apis.observe(first, &pools);
        assert_eq!(None, apis.served());
        others.into_iter().for_each(|version| apis.observe(version, &BTreeSet::new()));
        assert_eq!(Some(&pools), apis.served().as_ref());
        apis.observe(first, &BTreeSet::new());
        apis.observe_refusal(first);
        assert_eq!(Some(&pools), apis.served().as_ref());
        apis.observe(first, &pools);
        apis.observe(first, &BTreeSet::new());
        assert_eq!(Some(&pools), apis.served().as_ref());
        apis.observe(first, &BTreeSet::new());
        assert_eq!(Some(BTreeSet::new()), apis.served());
        apis.observe(first, &pools);
        assert_eq!(Some(&pools), apis.served().as_ref());
    }
}
