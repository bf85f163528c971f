//! For how long a replica and the pool's owner have not heard each other.

use std::sync::atomic::Ordering;

use super::picker::Picker;

impl Picker {
    /// Returns for how many milliseconds the owner has not been heard, or has not heard this replica.
    pub(crate) fn owner_silence_ms(&self) -> u64 {
        let lost_at_ms = self.uplink_lost_at_ms.load(Ordering::Relaxed);
        self.view_age_ms().max(self.now_ms().saturating_sub(lost_at_ms))
    }

    /// Records that the uplink has no stream to an owner.
    pub(crate) fn record_uplink_loss(&self) {
        self.uplink_lost_at_ms.fetch_min(self.now_ms(), Ordering::Relaxed);
    }

    /// Records that an owner accepts what the uplink sends.
    pub(crate) fn record_uplink(&self) {
        self.uplink_lost_at_ms.store(u64::MAX, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::picker;

    #[test]
    fn silence_lasts_from_the_first_loss_of_the_uplink_until_an_owner_accepts_it() {
        let picker = picker(&[]);
        let lost_at_ms = || picker.uplink_lost_at_ms.load(Ordering::Relaxed);
        picker.record_uplink_loss();
        let first = lost_at_ms();
        picker.record_uplink_loss();
        assert_eq!(first, lost_at_ms());
        picker.record_uplink();
        assert_eq!(u64::MAX, lost_at_ms());
        assert!(picker.owner_silence_ms() <= picker.view_age_ms());
    }
}
