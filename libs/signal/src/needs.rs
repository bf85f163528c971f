//! How many replicas a load needs.

use crate::signal::Reason;

/// How many replicas a load needs.
#[derive(Clone, Copy, Debug)]
struct Staffing {
    /// The share of their capacity that replicas are meant to use, when there are so many that chance evens out.
    utilization: f64,
    /// The replicas kept for chance and for what nobody can foresee, per square root of the load: the load of a pool varies
    /// by the square root of its mean.
    reserve: f64,
    /// The most that is kept, in parts of the load: a small pool is not doubled for it.
    most_reserve: f64,
}

/// How many replicas there should be. With a tuning seed of `cargo xtask bench scale`, less of a reserve misses the goal
/// more often than the recipes do when demand doubles at once, and more of it costs more than nine tenths of their
/// replica-hours.
const UP: Staffing = Staffing { utilization: 0.95, reserve: 1.65, most_reserve: 0.65 };

/// How many are enough to go down: so many that the load may rise by a tenth before the one that goes is missed.
const DOWN: Staffing = Staffing { utilization: 0.86, reserve: 1.8, most_reserve: 0.75 };

impl Staffing {
    /// Returns the replicas for a load, as a number of replicas that are busy all the time.
    fn replicas(&self, load: f64) -> f64 {
        load / self.utilization + (self.reserve * load.sqrt()).min(self.most_reserve * load)
    }
}

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
        self.need_with(&UP)
    }

    /// Returns how many replicas it must be possible to do without before fewer are desired: the same load with more room,
    /// so that a replica that was removed is not missed at once.
    pub(crate) fn need_to_go_down(&self) -> Need {
        self.need_with(&DOWN)
    }

    fn need_with(&self, staffing: &Staffing) -> Need {
        let staffed = |load: f64| staffing.replicas(load);
        let measured = staffed(self.rate);
        let grown = staffed(self.rate * self.correction * self.growth);
        let clearing = (self.backlog_s / CLEARING_S).min(MAX_CLEARING_SHARE * grown);
        let by_rate = grown + clearing;
        let kv = self.kv / staffing.utilization;
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
