//! Sums over the series of a family.

use std::collections::BTreeMap;

/// The finite values of a family, one per part of the server.
#[derive(Clone, Debug, Default)]
pub(super) struct Total {
    /// Values of parts that several series describe, by the part's name.
    parts: BTreeMap<String, f64>,
    sum: f64,
    count: u32,
    is_seen: bool,
}

impl Total {
    /// Adds a value of `part`, of which the greatest counts; without one, the value counts by itself. Ignores
    /// a value that is not finite.
    pub(super) fn add(&mut self, part: Option<String>, value: f64) {
        self.is_seen = true;
        if !value.is_finite() {
            return;
        }
        let Some(part) = part else {
            self.sum += value;
            self.count += 1;
            return;
        };
        let greatest = self.parts.entry(part).or_insert(value);
        *greatest = greatest.max(value);
    }

    /// Returns whether the page has a series of the family, whatever its value.
    pub(super) fn is_seen(&self) -> bool {
        self.is_seen
    }

    /// Returns the total if it has at least one value.
    pub(super) fn if_present(&self) -> Option<&Self> {
        (self.count > 0 || !self.parts.is_empty()).then_some(self)
    }

    pub(super) fn sum(&self) -> f64 {
        self.sum + self.parts.values().sum::<f64>()
    }

    pub(super) fn mean(&self) -> f64 {
        self.sum() / (f64::from(self.count) + self.parts.len() as f64)
    }

    /// Returns the sum as a number of requests. Negative sums count as 0, and the conversion saturates.
    pub(super) fn requests(&self) -> u32 {
        self.sum().round() as u32
    }

    /// Returns the sum × `factor` as a counter. Negative sums count as 0, and the conversion saturates.
    pub(super) fn counter(&self, factor: f64) -> u64 {
        (self.sum() * factor).round() as u64
    }
}

/// A histogram's sum and count.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    pub(super) sum: Total,
    pub(super) count: Total,
}

impl Histogram {
    /// Returns the histogram if the page has both its sum and its count.
    pub(super) fn if_present(&self) -> Option<&Self> {
        (self.sum.if_present().is_some() && self.count.if_present().is_some()).then_some(self)
    }
}
