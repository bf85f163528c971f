//! By how much a process is late, so that it does not take its own silence for that of others.

/// A process that is not late learns the time at least this often, in milliseconds: twice the longest time between two
/// ticks of an owner, or between two messages of an aggregator.
const PUNCTUAL_MS: u64 = 200;

/// By how much a process is late.
///
/// What others sent meanwhile may wait to be handled. Before a process decides that another one was silent for too
/// long, it therefore counts its own lateness out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lateness {
    /// When the process was last known to be punctual, in milliseconds.
    punctual_at_ms: Option<u64>,
    /// How much of the time since then was already returned as late.
    returned_ms: u64,
}

impl Lateness {
    /// Returns by how many milliseconds the process is later at `now_ms` than known so far.
    pub(crate) fn more(&mut self, now_ms: u64) -> u64 {
        let since_ms = now_ms.saturating_sub(*self.punctual_at_ms.get_or_insert(now_ms));
        let late_ms = since_ms.saturating_sub(PUNCTUAL_MS);
        let more_ms = late_ms.saturating_sub(self.returned_ms);
        self.returned_ms += more_ms;
        more_ms
    }

    /// Records a moment after which the process must be punctual again: it handled a tick, or all that was sent before.
    pub(crate) fn restart(&mut self, now_ms: u64) {
        (self.punctual_at_ms, self.returned_ms) = (Some(now_ms), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_returned_once_whatever_is_handled_first() {
        let mut lateness = Lateness::default();
        assert_eq!(0, lateness.more(7));
        lateness.restart(1_000);
        assert_eq!([0, 0], [1_100, 1_000 + PUNCTUAL_MS].map(|now_ms| lateness.more(now_ms)));
        assert_eq!([1_800, 0, 5], [3_000, 3_000, 3_005].map(|now_ms| lateness.more(now_ms)));
        lateness.restart(3_010);
        assert_eq!([0, 1], [3_010 + PUNCTUAL_MS, 3_011 + PUNCTUAL_MS].map(|now_ms| lateness.more(now_ms)));
    }

    #[test]
    fn a_backlog_makes_every_tick_late() {
        let mut lateness = Lateness::default();
        lateness.restart(0);
        let late = |tick_ms: u64| {
            let late_ms: u64 = (tick_ms - 1_000..=tick_ms).map(|now_ms| lateness.more(now_ms)).sum();
            lateness.restart(tick_ms);
            late_ms
        };
        assert_eq!([800, 800, 800].to_vec(), [1_000, 2_000, 3_000].map(late).to_vec());
    }
}
