//! Notices that the API server has an older history than before, e.g. after etcd was restored from a backup.
//!
//! A watch that goes on from a version that the restored history has not reached yet would miss everything up
//! to it. Versions of one resource are numbers that grow.

/// The newest version that was seen.
#[derive(Debug, Default)]
pub(super) struct History(u64);

impl History {
    /// Takes note of the version of a list that was read just now. Returns whether it is older than one
    /// before. A version that is not a number is ignored.
    pub(super) fn goes_back(&mut self, version: Option<&str>) -> bool {
        let Some(version) = version.and_then(|version| version.parse().ok()) else { return false };
        let goes_back = version < self.0;
        self.0 = version;
        goes_back
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_smaller_number_goes_back() {
        let mut history = History::default();
        let all = ["5", "5", "7", "x", "6", "6", "8"].map(Some).into_iter().chain([None]);
        let back: Vec<_> = all.map(|version| history.goes_back(version)).collect();
        assert_eq!(vec![false, false, false, false, true, false, false, false], back);
    }
}
