//! The measured values of an endpoint.

use serde::{Deserialize, Serialize};
use signalbox_types::{Capacity, Gauges, Incarnation, Work};

/// The measured values of an endpoint, as its owner accepted them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// The incarnation of the model server that the other values belong to.
    pub incarnation: Incarnation,
    /// How current the values are.
    pub scrape_status: ScrapeStatus,
    /// When the scrape status last changed, in milliseconds of the owner's clock.
    pub scrape_status_since_ms: u64,
    /// The gauges that the engine reports.
    pub gauges: Gauges,
    /// The number of requests at the endpoint that no replica has booked.
    pub unbooked_requests: u32,
    /// The KV cache capacity; `None` if the engine does not report it.
    pub capacity: Option<Capacity>,
    /// What the engine had done when another value last changed. A later report of less shows a restart.
    #[serde(default)]
    pub work: Work,
    /// Whether the engine is asleep: it answers only after it was woken up.
    #[serde(default)]
    pub is_asleep: bool,
}

impl Observed {
    /// Returns whether the engine lost its KV cache in the change to `after`: it restarted, or it fell asleep.
    pub(crate) fn loses_cache(&self, after: &Self) -> bool {
        is_restart(self.incarnation, after.incarnation) || (after.is_asleep && !self.is_asleep)
    }
}

/// How current an endpoint's scraped values are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScrapeStatus {
    /// The endpoint is new and was not scraped yet. It becomes stale if that lasts.
    #[default]
    Unknown,
    /// The values are at most a few scrapes old.
    Fresh,
    /// The values are the last known ones; scrapes fail.
    Stale,
    /// Nothing listens at the endpoint's address.
    Down,
}

/// Returns whether the incarnation changed from `before` to `after` because the model server restarted. The
/// first known incarnation is no restart.
pub(crate) fn is_restart(before: Incarnation, after: Incarnation) -> bool {
    before != Incarnation::default() && before != after
}
