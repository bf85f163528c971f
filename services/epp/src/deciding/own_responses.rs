//! The stored responses of which this replica has learned itself.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use signalbox_types::{EndpointKey, ResponseKey};

/// Places for this replica's own responses, which bridge the time until the pool's state has them. A later one with the
/// same place replaces an earlier one.
const PLACES: usize = 1_024;

/// The latest responses to requests of this replica, and the endpoints that keep them.
pub(crate) struct OwnResponses(Box<[ArcSwapOption<(ResponseKey, EndpointKey)>]>);

impl Default for OwnResponses {
    fn default() -> Self {
        Self((0..PLACES).map(|_| ArcSwapOption::empty()).collect())
    }
}

impl fmt::Debug for OwnResponses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnResponses").finish_non_exhaustive()
    }
}

impl OwnResponses {
    /// Notes that `endpoint` keeps `response`.
    pub(super) fn record(&self, response: ResponseKey, endpoint: EndpointKey) {
        self.place(response).store(Some(Arc::new((response, endpoint))));
    }

    /// Forgets `response`.
    pub(super) fn forget(&self, response: ResponseKey) {
        let place = self.place(response);
        let found = place.load();
        if found.as_ref().is_some_and(|found| found.0 == response) {
            // A later response with the same place stays.
            place.compare_and_swap(&*found, None);
        }
    }

    /// Returns the endpoint that keeps `response`, if it is among the latest ones.
    pub(super) fn find(&self, response: ResponseKey) -> Option<EndpointKey> {
        let found = self.place(response).load();
        found.as_ref().filter(|found| found.0 == response).map(|found| found.1)
    }

    fn place(&self, ResponseKey(hash): ResponseKey) -> &ArcSwapOption<(ResponseKey, EndpointKey)> {
        &self.0[hash as usize % PLACES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_response_with_the_same_place_replaces_an_earlier_one() {
        let own = OwnResponses::default();
        let [first, second] = [ResponseKey(7), ResponseKey(7 + PLACES as u64)];
        own.record(first, EndpointKey(1));
        assert_eq!((Some(EndpointKey(1)), None), (own.find(first), own.find(second)));
        own.record(second, EndpointKey(2));
        assert_eq!((None, Some(EndpointKey(2))), (own.find(first), own.find(second)));
        own.forget(first);
        assert_eq!(Some(EndpointKey(2)), own.find(second));
        own.forget(second);
        assert_eq!(None, own.find(second));
    }
}
