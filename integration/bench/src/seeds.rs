//! The seeds of generated requests: some to tune constants with, and others to report.

use std::ops::RangeInclusive;

use clap::ValueEnum;

/// Seeds of generated requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Seeds {
    /// 1 to 5, with which constants may be tuned
    Tuning,
    /// 6 to 10, of which results are reported
    HeldOut,
}

impl Seeds {
    /// Returns all of them.
    pub(crate) fn range(self) -> RangeInclusive<u64> {
        match self {
            Self::Tuning => 1..=5,
            Self::HeldOut => 6..=10,
        }
    }
}
