//! The highest epoch that a process knows, and which epochs it believes.

/// Every process believes epochs up to this one: an aggregator without a coordinator counts from the wall clock in
/// milliseconds, and may have been up for years since a process last heard of it. It is a moment in the year 2109.
const WALL_CLOCK_EPOCHS: u64 = 1 << 42;

/// How far a believable epoch may be above a known one. Each claim adds one and an aggregator makes two a second
/// at most, so this is six days of claims of which a process has not heard.
const MAX_STEP: u64 = 1 << 20;

/// The highest epoch. Its generations still fit into 64 bits. Invented epochs need 70 days to get there: each claim
/// exceeds the one before by [`MAX_STEP`] at most.
const MAX_EPOCH: u64 = (1 << 44) - 1;

/// Returns the highest epoch that can be genuine if the pool was owned under `known`.
pub const fn max_believable_epoch(known: u64) -> u64 {
    let base = if known > WALL_CLOCK_EPOCHS { known } else { WALL_CLOCK_EPOCHS };
    let limit = base.saturating_add(MAX_STEP);
    if limit > MAX_EPOCH { MAX_EPOCH } else { limit }
}

/// The highest epoch that a process knows.
///
/// A peer may invent an epoch. Were it believed, it would spread to all processes, and no claim could exceed it. So
/// an epoch counts only if it is not far above what the coordinator has confirmed, or, without a confirmation, above
/// what was heard before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownEpoch {
    highest: u64,
    confirmed: Option<u64>,
    refused: u64,
    last_refused: u64,
}

impl KnownEpoch {
    /// Returns the highest known epoch; 0 if none is known.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// Returns how many epochs were refused.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Returns the epoch that was refused last; 0 if none was.
    pub fn last_refused(&self) -> u64 {
        self.last_refused
    }

    /// Records an epoch that a peer knows. Returns whether it can be genuine; if not, it is counted and otherwise
    /// ignored.
    pub fn hear(&mut self, epoch: u64) -> bool {
        let is_believable = epoch <= max_believable_epoch(self.confirmed.unwrap_or(self.highest));
        if is_believable {
            self.highest = self.highest.max(epoch);
        } else {
            (self.refused, self.last_refused) = (self.refused.saturating_add(1), epoch);
        }
        is_believable
    }

    /// Records an epoch that the coordinator has granted. An epoch that cannot be genuine beside it is forgotten.
    pub fn confirm(&mut self, epoch: u64) {
        let confirmed = self.confirmed.map_or(epoch, |before| before.max(epoch));
        self.confirmed = Some(confirmed);
        if self.highest > max_believable_epoch(confirmed) {
            self.highest = confirmed;
        }
        self.highest = self.highest.max(epoch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invented_epochs_are_refused_and_counted() {
        let mut known = KnownEpoch::default();
        assert!(known.hear(7));
        for invented in [u64::MAX, u64::MAX - 1, 1 << 63, MAX_EPOCH + 1, WALL_CLOCK_EPOCHS + MAX_STEP + 1] {
            assert!(!known.hear(invented), "{invented}");
            assert_eq!((7, invented), (known.highest(), known.last_refused()));
        }
        assert_eq!(5, known.refused());
        assert!(known.hear(3));
        assert_eq!(7, known.highest());
    }

    #[test]
    fn epochs_of_counters_and_of_wall_clocks_are_believed() {
        let mut known = KnownEpoch::default();
        for epoch in [1, 9, 1_800_000_000_000, 1_900_000_000_000, 4_000_000_000_000] {
            assert!(known.hear(epoch), "{epoch}");
            assert_eq!(epoch, known.highest());
        }
    }

    #[test]
    fn without_a_claim_epochs_above_the_coordinators_rise_by_one_step_only() {
        let mut known = KnownEpoch::default();
        known.confirm(WALL_CLOCK_EPOCHS);
        assert!(known.hear(WALL_CLOCK_EPOCHS + MAX_STEP));
        assert!(!known.hear(WALL_CLOCK_EPOCHS + MAX_STEP + 1));
        known.confirm(WALL_CLOCK_EPOCHS + MAX_STEP);
        assert!(known.hear(WALL_CLOCK_EPOCHS + 2 * MAX_STEP));
    }

    #[test]
    fn coordinator_corrects_what_peers_invented_in_steps() {
        let mut known = KnownEpoch::default();
        for step in 1..=9 {
            assert!(known.hear(WALL_CLOCK_EPOCHS + step * MAX_STEP));
        }
        known.confirm(7);
        assert_eq!(7, known.highest());
        known.confirm(5);
        assert_eq!(7, known.highest());
    }

    #[test]
    fn limit_does_not_overflow() {
        assert_eq!([MAX_EPOCH; 2], [MAX_EPOCH, u64::MAX].map(max_believable_epoch));
    }
}
