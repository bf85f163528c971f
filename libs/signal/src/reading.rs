//! Reads numbers from a signal, or says why there is none.

use thiserror::Error;

use crate::group::Group;
use crate::metric::Metric;
use crate::signal::{Certainty, Coverage, GroupSignal, Signal};

/// For how long a signal may be used after it was assessed, in milliseconds. The owner assesses once a second; a new owner
/// has this long to go on.
pub const MAX_AGE_MS: u64 = 30_000;

/// Why there is no number. Whoever asks must be told that, never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unavailable {
    /// No owner has assessed the pool yet.
    #[error("the pool was not assessed yet: it has no owner, or the owner has just started")]
    Unknown,
    /// The last signal is too old.
    #[error(
        "the last signal of the pool is {age_ms} ms old, more than {MAX_AGE_MS} ms: its owner is not heard"
    )]
    Stale {
        /// Its age.
        age_ms: u64,
    },
    /// The owner knows too little of the pool.
    #[error(
        "too little is known of the pool: {pods_percent} % of its pods have current metrics, and \
         {epp_replicas_percent} % of its EPP replicas report"
    )]
    Insufficient {
        /// Pods with current metrics.
        pods_percent: u8,
        /// EPP replicas that report.
        epp_replicas_percent: u8,
    },
    /// The signal has no such number: nothing was measured that it could be computed from.
    #[error("{0} was not measured")]
    NotMeasured(Metric),
    /// No group was selected.
    #[error("the pool has no group of pods with these labels")]
    NoSuchGroup,
}

impl Signal {
    /// Returns its age at `now_ms` of the pool's clock.
    pub fn age_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.assessed_at_ms)
    }

    /// Checks that the numbers may be used at `now_ms` of the pool's clock.
    ///
    /// # Errors
    /// [`Unavailable::Stale`] or [`Unavailable::Insufficient`].
    pub fn check(&self, now_ms: u64) -> Result<(), Unavailable> {
        let age_ms = self.age_ms(now_ms);
        if age_ms > MAX_AGE_MS {
            return Err(Unavailable::Stale { age_ms });
        }
        // A request that waits for the first pod is certain, whatever else is not known.
        if self.certainty == Certainty::Insufficient && !self.awaits_first_pod {
            let Coverage { pods_percent, epp_replicas_percent } = self.coverage;
            return Err(Unavailable::Insufficient { pods_percent, epp_replicas_percent });
        }
        Ok(())
    }

    /// Reads a number in thousandths at `now_ms` of the pool's clock, over the groups that are `selected`: the sum of
    /// amounts, the maximum of ratios and durations. Numbers of the whole pool are the same for every selection.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn read(
        &self,
        now_ms: u64,
        metric: Metric,
        selected: impl Fn(&Group) -> bool,
    ) -> Result<u64, Unavailable> {
        self.check(now_ms)?;
        if let Some(milli) = self.pool_value(metric) {
            return Ok(milli);
        }
        let mut groups = self.groups.iter().filter(|of| selected(&of.group)).peekable();
        if groups.peek().is_none() {
            return Err(Unavailable::NoSuchGroup);
        }
        let values = groups.filter_map(|group| group.value(metric));
        let combined = match metric {
            Metric::Utilization | Metric::Saturation | Metric::ScaleUrgency | Metric::Startup => values.max(),
            _ => values.reduce(u64::saturating_add),
        };
        combined.ok_or(Unavailable::NotMeasured(metric))
    }

    /// Returns a number of the whole pool, in thousandths.
    fn pool_value(&self, metric: Metric) -> Option<u64> {
        match metric {
            Metric::QueueRequests => Some(self.queue.requests.saturating_mul(1000)),
            Metric::QueueTokens => Some(self.queue.tokens.saturating_mul(1000)),
            Metric::QueueOldest => Some(self.queue.oldest_ms),
            Metric::Shed => Some(self.shed_milli),
            Metric::Active => Some(u64::from(self.is_active) * 1000),
            _ => None,
        }
    }
}

impl GroupSignal {
    /// Returns a number of this group, in thousandths; `None` if it was not measured, or belongs to the whole pool.
    pub fn value(&self, metric: Metric) -> Option<u64> {
        let thousandths = |whole: u64| whole.saturating_mul(1000);
        match metric {
            Metric::DesiredReplicas => Some(thousandths(self.desired.into())),
            Metric::DemandReplicas => self.demand_milli,
            Metric::PrefillBacklog => self.prefill_backlog_ms,
            Metric::KvDemandReplicas => self.kv_demand_milli,
            Metric::PrefillDemand => Some(thousandths(self.demand.prefill)),
            Metric::DecodeDemand => Some(thousandths(self.demand.decode)),
            Metric::PrefillCapacity => self.capacity.map(|capacity| thousandths(capacity.prefill)),
            Metric::DecodeCapacity => self.capacity.map(|capacity| thousandths(capacity.decode)),
            Metric::Utilization => self.utilization_milli,
            Metric::Saturation => self.saturation_milli,
            Metric::ScaleUrgency => Some(self.urgency_milli),
            Metric::Startup => Some(self.startup_ms),
            Metric::QueueRequests
            | Metric::QueueTokens
            | Metric::QueueOldest
            | Metric::Shed
            | Metric::Active => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::Role;

    fn signal() -> Signal {
        let group = |role, desired, utilization_milli| GroupSignal {
            group: Group::of_role(role),
            desired,
            utilization_milli,
            ..GroupSignal::default()
        };
        Signal {
            assessed_at_ms: 1_000,
            certainty: Certainty::Complete,
            groups: vec![group(Role::Prefill, 2, Some(500)), group(Role::Decode, 3, None)],
            ..Signal::default()
        }
    }

    #[test]
    fn amounts_add_up_and_ratios_do_not() {
        let signal = signal();
        assert_eq!(Ok(5_000), signal.read(1_000, Metric::DesiredReplicas, |_| true));
        assert_eq!(Ok(3_000), signal.read(1_000, Metric::DesiredReplicas, |of| of.role == Role::Decode));
        assert_eq!(Ok(500), signal.read(1_000, Metric::Utilization, |_| true));
        let not_measured = Err(Unavailable::NotMeasured(Metric::Utilization));
        assert_eq!(not_measured, signal.read(1_000, Metric::Utilization, |of| of.role == Role::Decode));
        assert_eq!(Err(Unavailable::NoSuchGroup), signal.read(1_000, Metric::DesiredReplicas, |_| false));
    }

    #[test]
    fn old_and_insufficient_signals_give_no_number() {
        let mut signal = signal();
        let read = |signal: &Signal, now_ms| signal.read(now_ms, Metric::DesiredReplicas, |_| true);
        assert!(read(&signal, 1_000 + MAX_AGE_MS).is_ok());
        assert!(matches!(read(&signal, 1_001 + MAX_AGE_MS), Err(Unavailable::Stale { .. })));
        signal.certainty = Certainty::Insufficient;
        assert!(matches!(read(&signal, 1_000), Err(Unavailable::Insufficient { .. })));
        signal.awaits_first_pod = true;
        assert!(read(&signal, 1_000).is_ok(), "a pool is woken whatever is not known");
    }

    #[test]
    fn names_are_distinct_and_parse() {
        for metric in Metric::ALL {
            assert_eq!(Ok(metric), metric.name().parse());
        }
        assert!("signalbox_x".parse::<Metric>().unwrap_err().contains("signalbox_desired_replicas"));
    }
}
