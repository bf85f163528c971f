//! The seeds of generated requests: some to tune constants with, and others to report.

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
    /// Returns all of them, or the first `quick` of them in a quick run.
    pub(crate) fn first(self, quick: Option<usize>) -> Vec<u64> {
        let all = match self {
            Self::Tuning => 1..=5,
            Self::HeldOut => 6..=10,
        };
        all.take(quick.unwrap_or(usize::MAX)).collect()
    }
}
