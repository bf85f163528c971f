//! How long an aggregator has owned the pool.

use std::time::{Duration, Instant};

use anyhow::ensure;

/// The default of the aggregators' flag `--failback-after`, and the time within which the pool is handed over then.
const HANDED_BACK_WITHIN: Duration = Duration::from_secs(30 + 3);

/// The owner of the pool and its epoch, and since when both are the same.
#[derive(Debug, Default)]
pub(super) struct Tenure(Option<((usize, f64), Instant)>);

impl Tenure {
    /// Checks that the pool will not be handed back to the preferred aggregator. `owner` is the owner of a healthy cluster and
    /// its epoch at `now`.
    ///
    /// # Errors
    /// Fails while the preferred aggregator may not have been there for long enough to be given the pool.
    pub(super) fn check_settled(&mut self, owner: (usize, f64), now: Instant) -> anyhow::Result<()> {
        let since = match self.0 {
            Some((before, since)) if before == owner => since,
            _ => now,
        };
        self.0 = Some((owner, since));
        let time = now - since;
        ensure!(time >= HANDED_BACK_WITHIN, "aggregator {} owns the pool only for {time:?}", owner.0);
        Ok(())
    }

    /// Starts anew, because the cluster was not healthy.
    pub(super) fn reset(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_of_owner_or_epoch_and_each_failure_starts_anew() {
        let (mut tenure, start) = (Tenure::default(), Instant::now());
        let second = Duration::from_secs(1);
        let mut now = start;
        for owner in [(1, 7.0), (2, 8.0), (2, 9.0)] {
            tenure.check_settled(owner, now).unwrap_err();
            tenure.check_settled(owner, now + HANDED_BACK_WITHIN - second).unwrap_err();
            tenure.check_settled(owner, now + HANDED_BACK_WITHIN).unwrap();
            now += HANDED_BACK_WITHIN + second;
        }
        tenure.reset();
        tenure.check_settled((2, 9.0), now).unwrap_err();
    }
}
