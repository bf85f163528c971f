//! Decides which run of a model server a report is about, and resets what a restart invalidates.

use signalbox_types::{EndpointKey, Incarnation};

use super::Pool;
use super::endpoint_assessor::EndpointAssessor;
use crate::pool_state::Observed;
use crate::reports::Update;

/// Returns the incarnation of the endpoint after `update`.
///
/// A collector names the incarnation if the server reports its start, or if it noticed a restart itself. Else
/// the run that the pool knows continues, unless the server has done less than the pool knows: then it was
/// restarted while no collector watched, e.g. between two collectors. Such a run, and the first one, gets a
/// number that no earlier one of the endpoint has. A collector that has not read the page yet knows nothing.
pub(super) fn incarnation_after(now_ms: u64, before: &Observed, update: &Update) -> Incarnation {
    let unknown = Incarnation::default();
    match update.work {
        _ if update.incarnation != unknown => update.incarnation,
        Some(work) if before.incarnation == unknown || work.fell_since(&before.work) => {
            Incarnation(now_ms.max(before.incarnation.0.checked_add(1).unwrap_or(0)).max(1))
        }
        Some(_) | None => before.incarnation,
    }
}

impl Pool {
    /// Starts the assessment of a restarted endpoint over: as for a new endpoint, its rates are those of the
    /// others in the pool until they are measured, and its ramp begins. The others' rates are those of the last
    /// update: to update them considers each endpoint, and one input can show that all endpoints restarted.
    pub(super) fn restart_assessment(&mut self, now_ms: u64, endpoint: EndpointKey) {
        let typical = self.rates.typical_without(endpoint);
        self.assessors.insert(endpoint, EndpointAssessor::new(typical));
        self.cache_beliefs.forget(endpoint);
        self.assess_against(now_ms, endpoint, typical);
    }
}

#[cfg(test)]
mod tests {
    use signalbox_types::Work;

    use super::*;

    const NOW_MS: u64 = 90;

    fn after(incarnation: u64, requests: u64, update: &Update) -> u64 {
        let work = Work { requests, ..Work::default() };
        let before = Observed { incarnation: Incarnation(incarnation), work, ..Observed::default() };
        incarnation_after(NOW_MS, &before, update).0
    }

    fn worked(requests: u64) -> Update {
        Update { work: Some(Work { requests, ..Work::default() }), ..Update::default() }
    }

    #[test]
    fn a_named_incarnation_counts() {
        assert_eq!(7, after(5, 10, &Update { incarnation: Incarnation(7), ..worked(1) }));
        assert_eq!(5, after(5, 10, &Update { incarnation: Incarnation(5), ..worked(1) }));
    }

    #[test]
    fn an_unnamed_run_continues_unless_it_has_done_less() {
        assert_eq!(5, after(5, 10, &worked(10)));
        assert_eq!(5, after(5, 10, &Update::default()));
        assert_eq!(NOW_MS, after(5, 10, &worked(9)));
        assert_eq!(701, after(700, 10, &worked(9)));
    }

    #[test]
    fn a_first_run_gets_a_number_when_its_page_is_read() {
        assert_eq!(NOW_MS, after(0, 0, &worked(0)));
        assert_eq!(0, after(0, 0, &Update::default()));
    }
}
