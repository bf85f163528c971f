//! Settings of flow control, with the Go EPP's names and defaults where it has them.

use std::collections::BTreeMap;

use crate::policies::{BandPosition, Ceilings, Fairness, Ordering};
use crate::saturation::Detector;

/// The priority of requests that ask for none.
pub(crate) const DEFAULT_PRIORITY: i32 = 0;

/// Upper limits on what waits, over all replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Requests.
    pub requests: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Uncached prompt tokens and expected output tokens.
    pub tokens: u64,
}

impl Caps {
    /// No limits.
    pub const NONE: Self = Self { requests: u64::MAX, bytes: u64::MAX, tokens: u64::MAX };
}

/// Settings of one band.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BandSettings {
    /// Upper limits on what waits.
    pub caps: Caps,
    /// How the flows of the band share.
    pub fairness: Fairness,
    /// In which order the requests of a flow go.
    pub ordering: Ordering,
    /// The share of all granted tokens, in percent, that this band gets while it waits, whatever waits above it.
    pub min_share_percent: u8,
}

impl Default for BandSettings {
    fn default() -> Self {
        Self {
            caps: Caps { requests: 5_000, bytes: 1_000_000_000, tokens: u64::MAX },
            fairness: Fairness::default(),
            ordering: Ordering::default(),
            min_share_percent: 0,
        }
    }
}

/// Settings of flow control for one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowSettings {
    /// Upper limits over all bands.
    pub caps: Caps,
    /// How long a request waits for a place at an endpoint, in milliseconds; `None` for as long as the client does.
    pub request_ttl_ms: Option<u64>,
    /// How long a request waits for the first endpoint of an empty pool, in milliseconds.
    pub no_endpoint_ttl_ms: Option<u64>,
    /// How long a sheddable request waits for a place, in milliseconds.
    pub sheddable_wait_ms: u64,
    /// The bands that are configured, by priority.
    pub bands: BTreeMap<i32, BandSettings>,
    /// Settings of all other bands.
    pub default_band: BandSettings,
    /// Settings of all other bands with a negative priority.
    pub default_negative_band: BandSettings,
    /// Weights of flows by fairness id; 1 for those without one.
    pub weights: BTreeMap<String, u32>,
    /// How the pool's saturation is measured.
    pub detector: Detector,
    /// The saturation at which the pool is full for each band.
    pub ceilings: Ceilings,
    /// Whether requests in flight are revoked for more important ones that wait.
    pub revokes: bool,
}

impl Default for FlowSettings {
    fn default() -> Self {
        Self {
            caps: Caps::NONE,
            request_ttl_ms: Some(60_000),
            no_endpoint_ttl_ms: Some(60_000),
            sheddable_wait_ms: 0,
            bands: BTreeMap::new(),
            default_band: BandSettings::default(),
            default_negative_band: BandSettings::default(),
            weights: BTreeMap::new(),
            detector: Detector::default(),
            ceilings: Ceilings::default(),
            revokes: false,
        }
    }
}

impl FlowSettings {
    /// The maximum number of bands with settings of their own.
    pub const MAX_BANDS: usize = 1_000;
    /// The maximum number of flows with a weight.
    pub const MAX_WEIGHTS: usize = 10_000;

    /// Returns the settings of the band of `priority`.
    pub fn band(&self, priority: i32) -> &BandSettings {
        let default = if priority < 0 { &self.default_negative_band } else { &self.default_band };
        self.bands.get(&priority).unwrap_or(default)
    }

    /// Returns the saturation at which the pool is full for the band of `priority`, at this saturation of the pool. Bands that
    /// are configured count, and that of requests without a priority. Does not allocate.
    pub fn ceiling(&self, priority: i32, saturation: f64) -> f64 {
        let others = self.bands.keys().copied().filter(|other| ![priority, DEFAULT_PRIORITY].contains(other));
        let default = Some(DEFAULT_PRIORITY).filter(|default| *default != priority);
        let mut position = BandPosition { rank: 0, priority, count: 1, first: priority, last: priority };
        for other in others.chain(default) {
            position.count += 1;
            position.rank += usize::from(other > priority);
            position.first = position.first.max(other);
            position.last = position.last.min(other);
        }
        self.ceilings.at(position, saturation)
    }

    /// Returns the weight of the flows named `id`, at least 1.
    pub fn weight(&self, id: &str) -> u32 {
        self.weights.get(id).copied().unwrap_or(1).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceiling_is_that_of_the_band_among_those_that_are_known() {
        let ceilings = Ceilings::HoldbackByRank { lowest: 0.5, highest: 1.0 };
        let bands = BTreeMap::from([(10, BandSettings::default()), (-10, BandSettings::default())]);
        let settings = FlowSettings { bands, ceilings, ..FlowSettings::default() };
        for priority in [10, 0, -10, 7] {
            let mut known = vec![10, 0, -10, priority];
            known.sort_unstable_by_key(|of| std::cmp::Reverse(*of));
            known.dedup();
            let at = known.iter().position(|of| *of == priority).unwrap();
            assert_eq!(ceilings.of(&known, 0.3)[at], settings.ceiling(priority, 0.3), "{priority}");
        }
        assert_eq!(1.0, FlowSettings::default().ceiling(-3, 0.9));
    }
}
