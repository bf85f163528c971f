//! Decides when a standby claims a pool whose owner still holds its lease.

/// How long the loss of an owner must last, in milliseconds: an owner whose streams broke has time to be heard
/// again.
const CONFIRM_MS: u64 = 200;

/// The time after an early takeover in which this aggregator makes no other one, in milliseconds. It doubles
/// with each one that follows soon, so that owners that only seem to be lost, as on a machine that is far too
/// busy, are not replaced again and again.
const FIRST_PAUSE_MS: u64 = 10_000;

/// The longest time between two early takeovers, in milliseconds.
const MAX_PAUSE_MS: u64 = 80_000;

/// A lost owner, and since when it is lost.
#[derive(Clone, Copy, Debug)]
struct LostOwner {
    epoch: u64,
    since_ms: u64,
}

/// The claims of one aggregator on a pool whose owner still holds its lease.
#[derive(Debug, Default)]
pub(super) struct EarlyClaims {
    lost_owner: Option<LostOwner>,
    /// When the last early takeover began, and the pause after it.
    last: Option<(u64, u64)>,
}

impl EarlyClaims {
    /// Records whether an owner is lost at `now_ms`, and under which epoch.
    pub(super) fn record_lost_owner(&mut self, now_ms: u64, epoch: Option<u64>) {
        self.lost_owner = match (epoch, self.lost_owner) {
            (None, _) => None,
            (Some(epoch), Some(lost_owner)) if lost_owner.epoch == epoch => Some(lost_owner),
            (Some(epoch), _) => Some(LostOwner { epoch, since_ms: now_ms }),
        };
    }

    /// Returns the epoch of the owner to replace, if it is lost for long enough; `delay_ms` longer than for
    /// the preferred aggregator.
    pub(super) fn replaceable(&self, now_ms: u64, delay_ms: u64) -> Option<u64> {
        let LostOwner { epoch, since_ms } = self.lost_owner?;
        let is_paused = self.last.is_some_and(|(at_ms, pause_ms)| now_ms < at_ms + pause_ms);
        (!is_paused && now_ms >= since_ms + CONFIRM_MS + delay_ms).then_some(epoch)
    }

    /// Records that an early takeover begins.
    pub(super) fn record_takeover(&mut self, now_ms: u64) {
        let follows_soon = |(at_ms, pause_ms): &(u64, u64)| now_ms < at_ms + 2 * pause_ms;
        let pause_ms = self
            .last
            .filter(follows_soon)
            .map_or(FIRST_PAUSE_MS, |(_, pause_ms)| (2 * pause_ms).min(MAX_PAUSE_MS));
        self.last = Some((now_ms, pause_ms));
        self.lost_owner = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_is_replaceable_when_it_is_lost_for_long_enough() {
        let mut claims = EarlyClaims::default();
        assert_eq!(None, claims.replaceable(0, 0));
        claims.record_lost_owner(1_000, Some(4));
        claims.record_lost_owner(1_100, Some(4));
        assert_eq!(None, claims.replaceable(1_000 + CONFIRM_MS - 1, 0));
        assert_eq!(Some(4), claims.replaceable(1_000 + CONFIRM_MS, 0));
        assert_eq!(None, claims.replaceable(1_000 + CONFIRM_MS, 1));
        assert_eq!(Some(4), claims.replaceable(1_001 + CONFIRM_MS, 1));
    }

    #[test]
    fn owner_that_is_heard_again_is_lost_from_the_start() {
        let mut claims = EarlyClaims::default();
        claims.record_lost_owner(1_000, Some(4));
        claims.record_lost_owner(1_100, None);
        claims.record_lost_owner(1_150, Some(4));
        assert_eq!(None, claims.replaceable(1_149 + CONFIRM_MS, 0));
        claims.record_lost_owner(1_300, Some(5));
        assert_eq!(None, claims.replaceable(1_299 + CONFIRM_MS, 0));
        assert_eq!(Some(5), claims.replaceable(1_300 + CONFIRM_MS, 0));
    }

    #[test]
    fn takeovers_that_follow_soon_are_further_and_further_apart() {
        let mut claims = EarlyClaims::default();
        let (mut now_ms, mut pauses_ms) = (0, Vec::new());
        for epoch in 1..=6 {
            let at_ms = now_ms;
            claims.record_takeover(at_ms);
            claims.record_lost_owner(at_ms, Some(epoch));
            while claims.replaceable(now_ms, 0).is_none() {
                now_ms += 100;
            }
            pauses_ms.push(now_ms - at_ms);
        }
        assert_eq!(vec![10_000, 20_000, 40_000, 80_000, 80_000, 80_000], pauses_ms);
        now_ms += 2 * MAX_PAUSE_MS;
        claims.record_takeover(now_ms);
        claims.record_lost_owner(now_ms, Some(9));
        assert_eq!(Some(9), claims.replaceable(now_ms + FIRST_PAUSE_MS, 0), "calm ends the doubling");
    }
}
