//! How many replicas a load needs.

use crate::signal::Reason;

/// The share of their capacity that replicas are meant to use, when there are so many that chance evens out. Below
/// `DOWN_UTILIZATION` there is one too many.
const UP_UTILIZATION: f64 = 0.85;
const DOWN_UTILIZATION: f64 = 0.75;

/// The replicas kept for chance, per square root of the load: the load of a pool varies by the square root of its mean.
const UP_RESERVE: f64 = 0.25;
const DOWN_RESERVE: f64 = 0.35;

/// The time in which a backlog is to be worked off, in seconds, and the highest share of the load that is added for it: a
/// backlog that built up while replicas were starting is worked off by the reserve.
const CLEARING_S: f64 = 60.0;
const MAX_CLEARING_SHARE: f64 = 0.1;

/// What replicas are needed for, each as a number of replicas that would be busy all the time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Load {
    /// The tokens that arrive.
    pub(crate) rate: f64,
    /// By which factor they will have grown when a replica that is asked for now serves.
    pub(crate) growth: f64,
    /// What waits for longer than it may, in replica-seconds.
    pub(crate) backlog_s: f64,
    /// By which factor capacity is less than measured, as backlogs show.
    pub(crate) correction: f64,
    /// The KV caches that are full.
    pub(crate) kv: f64,
}

/// A number of replicas, not rounded, and why it is needed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Need {
    pub(crate) replicas: f64,
    pub(crate) reason: Reason,
}

impl Load {
    /// Returns how many replicas it needs now.
    pub(crate) fn need(&self) -> Need {
        self.need_at(UP_UTILIZATION, UP_RESERVE)
    }

    /// Returns how many replicas it must be possible to do without before fewer are desired: the same load with more room,
    /// so that a replica that was removed is not missed at once.
    pub(crate) fn need_to_go_down(&self) -> Need {
        self.need_at(DOWN_UTILIZATION, DOWN_RESERVE)
    }

    fn need_at(&self, utilization: f64, reserve: f64) -> Need {
        let staffed = |load: f64| load / utilization + reserve * load.sqrt();
        let measured = staffed(self.rate);
        let grown = staffed(self.rate * self.correction * self.growth);
        let clearing = (self.backlog_s / CLEARING_S).min(MAX_CLEARING_SHARE * grown);
        let by_rate = grown + clearing;
        let kv = self.kv / utilization;
        let reason = if kv > by_rate {
            Reason::KvCache
        } else if self.growth > 1.0 && staffed(self.rate * self.growth).ceil() > measured.ceil() {
            Reason::Growth
        } else if by_rate.ceil() > staffed(self.rate * self.growth).ceil() {
            Reason::Backlog
        } else {
            Reason::Rate
        };
        Need { replicas: by_rate.max(kv), reason }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn load(rate: f64) -> Load {
        Load { rate, growth: 1.0, correction: 1.0, ..Load::default() }
    }

    #[test]
    fn reason_is_what_binds() {
        assert_eq!(Reason::Rate, load(4.0).need().reason);
        assert_eq!(Reason::Growth, Load { growth: 1.5, ..load(4.0) }.need().reason);
        assert_eq!(Reason::Backlog, Load { backlog_s: 600.0, ..load(5.0) }.need().reason);
        assert_eq!(Reason::KvCache, Load { kv: 9.0, ..load(4.0) }.need().reason);
    }

    proptest! {
        /// What is enough to go down is enough to stay: otherwise a replica that goes is asked for again at once.
        #[test]
        fn going_down_leaves_room(rate in 0.0..500.0_f64) {
            let (up, down) = (load(rate).need().replicas, load(rate).need_to_go_down().replicas);
            prop_assert!(down >= up);
            // By a tenth, the load may rise before the replica is missed.
            prop_assert!(load(rate * 1.1).need().replicas <= down + 1e-9);
        }

        #[test]
        fn more_load_needs_no_fewer_replicas(rate in 0.0..500.0_f64, more in 0.0..50.0_f64) {
            prop_assert!(load(rate + more).need().replicas >= load(rate).need().replicas);
        }
    }
}
