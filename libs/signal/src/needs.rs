//! How many replicas a load needs.

use crate::signal::Reason;

/// The share of their capacity that replicas are meant to use.
const UTILIZATION: f64 = 0.95;

/// The replicas that are kept for what begins all at once, however large the pool is: who begins does not know its size. Set
/// with the tuning seeds of `cargo xtask bench scale`, of whose replica-hours each one more would be about 7 %.
const KEPT: f64 = 4.5;

/// The most replicas for a load of one: a small pool is about doubled for what may begin, but not more. Rounding up adds half a
/// replica on average, so that much less is enough.
const MOST: f64 = 2.1;
const ROUNDING: f64 = 0.5;

/// The factor by which the load may rise before a replica that went is missed.
const ROOM_TO_GO_DOWN: f64 = 1.1;

/// The time in which a backlog is to be worked off, in seconds. What is kept works on it, too.
const CLEARING_S: f64 = 60.0;

/// The highest share of a need that is added for what waits: most of it will have been served when another replica is there.
const MAX_WAITING_SHARE: f64 = 0.1;

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
    /// The KV caches that running requests fill.
    pub(crate) kv: f64,
    /// The KV caches that waiting requests will fill.
    pub(crate) kv_waiting: f64,
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
        let measured = staffed(self.rate);
        let expected = staffed(self.rate * self.growth);
        let busy = self.rate * self.correction * self.growth;
        let enough = staffed(busy);
        let clearing = busy / UTILIZATION + self.backlog_s / CLEARING_S;
        let by_rate = clearing.clamp(enough, enough * (1.0 + MAX_WAITING_SHARE));
        let kv = (self.kv + self.kv_waiting.min(self.kv * MAX_WAITING_SHARE)) / UTILIZATION;
        let reason = if kv > by_rate {
            Reason::KvCache
        } else if self.growth > 1.0 && expected.ceil() > measured.ceil() {
            Reason::Growth
        } else if by_rate.ceil() > expected.ceil() {
            Reason::Backlog
        } else {
            Reason::Rate
        };
        Need { replicas: by_rate.max(kv), reason }
    }

    /// Returns how many replicas it must be possible to do without before fewer are desired: those of a greater load, so that
    /// a replica that was removed is not missed at once.
    pub(crate) fn need_to_go_down(&self) -> Need {
        Self { rate: self.rate * ROOM_TO_GO_DOWN, kv: self.kv * ROOM_TO_GO_DOWN, ..*self }.need()
    }
}

/// Returns the replicas for a load, as a number of replicas that are busy all the time.
fn staffed(load: f64) -> f64 {
    let busy = load / UTILIZATION;
    (busy + KEPT).min(load * MOST - ROUNDING).max(busy)
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

    #[test]
    fn backlog_is_worked_off_by_what_is_kept() {
        let kept = load(12.0).need().replicas - 12.0 / UTILIZATION;
        assert_eq!(load(12.0).need(), Load { backlog_s: kept * CLEARING_S, ..load(12.0) }.need());
        assert!(
            Load { backlog_s: 2.0 * kept * CLEARING_S, ..load(12.0) }.need().replicas
                > load(12.0).need().replicas
        );
    }

    #[test]
    fn caches_of_waiting_requests_count_up_to_a_tenth() {
        let kv = |kv_waiting| Load { kv: 9.0, kv_waiting, ..load(4.0) }.need().replicas;
        assert!((kv(0.5) - 9.5 / UTILIZATION).abs() < 1e-9);
        assert!((kv(50.0) - 9.9 / UTILIZATION).abs() < 1e-9);
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
