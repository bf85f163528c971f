//! When the pool is full for each band.

/// The ceilings of bands. The pool is full for a band, and its requests wait, while the pool's saturation is at least the
/// band's ceiling. These are the Go EPP's usage-limit policies.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Ceilings {
    /// `static-usage-limit-policy`: 1 for all bands.
    #[default]
    Static,
    /// `priority-holdback-policy` in the domain `rank`: evenly spaced from `highest` for the first band to `lowest` for the
    /// last one.
    HoldbackByRank {
        /// The ceiling of the last band, from 0 to 1.
        lowest: f64,
        /// The ceiling of the first band.
        highest: f64,
    },
    /// `priority-holdback-policy` in the domain `value`: like `HoldbackByRank`, but in proportion to the priorities.
    HoldbackByValue {
        /// The ceiling of the last band, from 0 to 1.
        lowest: f64,
        /// The ceiling of the first band.
        highest: f64,
    },
    /// `soft-reflective-ceiling-policy`: the fuller the pool, the lower the ceilings of all bands but the first.
    Reflective,
}

// None of the numbers is NaN: that is no saturation.
impl Eq for Ceilings {}

/// Where a band is among all bands, highest first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BandPosition {
    /// The number of bands above it.
    pub(crate) rank: usize,
    pub(crate) priority: i32,
    /// The number of bands.
    pub(crate) count: usize,
    /// The priority of the first band.
    pub(crate) first: i32,
    /// The priority of the last band.
    pub(crate) last: i32,
}

impl BandPosition {
    /// Returns the share of the bands that are above this one: 0 for the first and 1 for the last.
    fn depth_by_rank(self) -> f64 {
        self.rank as f64 / self.count.saturating_sub(1).max(1) as f64
    }

    /// Returns how far the priority is below the first one: 0 for the first band and 1 for the last.
    fn depth_by_value(self) -> f64 {
        let (first, last) = (f64::from(self.first), f64::from(self.last));
        (first - f64::from(self.priority)) / (first - last).max(1.0)
    }
}

impl Ceilings {
    /// Returns the ceilings of bands whose `priorities` are in descending order.
    pub(crate) fn of(self, priorities: &[i32], saturation: f64) -> Vec<f64> {
        let (Some(first), Some(last)) = (priorities.first(), priorities.last()) else { return Vec::new() };
        let (first, last, count) = (*first, *last, priorities.len());
        let position = |(rank, priority)| BandPosition { rank, priority, count, first, last };
        let positions = priorities.iter().copied().enumerate().map(position);
        positions.map(|position| self.at(position, saturation)).collect()
    }

    /// Returns the ceiling of one band.
    pub(crate) fn at(self, position: BandPosition, saturation: f64) -> f64 {
        let between = |lowest: f64, highest: f64, depth: f64| highest - depth * (highest - lowest);
        match self {
            Self::Static => 1.0,
            Self::HoldbackByRank { lowest, highest } => between(lowest, highest, position.depth_by_rank()),
            Self::HoldbackByValue { lowest, highest } => between(lowest, highest, position.depth_by_value()),
            Self::Reflective => 1.0 - position.depth_by_rank() * saturation.clamp(0.0, 1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_bands_leave_room_for_higher_ones() {
        let rank = Ceilings::HoldbackByRank { lowest: 0.5, highest: 1.0 };
        assert_eq!(vec![1.0, 0.75, 0.5], rank.of(&[10, 9, -10], 0.0));
        let value = Ceilings::HoldbackByValue { lowest: 0.5, highest: 1.0 };
        assert_eq!(vec![1.0, 0.975, 0.5], value.of(&[10, 9, -10], 0.0));
        assert_eq!(vec![1.0, 0.8, 0.6], Ceilings::Reflective.of(&[10, 9, -10], 0.4));
    }

    #[test]
    fn only_band_has_the_whole_pool() {
        let rank = Ceilings::HoldbackByRank { lowest: 0.5, highest: 0.9 };
        for (ceilings, only) in [(Ceilings::Static, 1.0), (Ceilings::Reflective, 1.0), (rank, 0.9)] {
            assert_eq!(vec![only], ceilings.of(&[0], 0.7));
        }
        assert!(Ceilings::Static.of(&[], 0.7).is_empty());
    }
}
