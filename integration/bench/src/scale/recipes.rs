//! The recipes of llm-d's guides for workload autoscaling, with KEDA over Prometheus (guides/workload-autoscaling/keda-epp,
//! its overlay queue-guard, keda-epp-token-aware, README.slo-aware.md; August 2026).

use super::hpa::{Average, Behavior, Policy, Rules};
use super::keda::metric;
use super::scrapes::{Scrapes, Values};

/// The tolerance of an autoscaler unless it is set.
const TOLERANCE: f64 = 0.1;

/// Requests in flow control, and at pods, for one replica.
const QUEUED: f64 = 1.0;
const RUNNING: f64 = 16.0;

/// Seconds of prefill that may wait per replica, and the part of its KV cache that may be used.
const BACKLOG_S: f64 = 1.5;
const KV_USE: f64 = 0.8;

/// The latency in parts of the goal above which replicas are added, and below which they are removed.
const LATENCY_UP: f64 = 0.55;
const LATENCY_DOWN: f64 = 0.40;

/// A recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recipe {
    Queue,
    QueueGuard,
    TokenAware,
    SloAware,
}

/// The behavior of the recipes with queues.
const DOUBLE: Behavior = Behavior {
    tolerance: TOLERANCE,
    up: Rules { window_s: 0.0, policies: &[Policy::Percent { value: 100, period_s: 15.0 }] },
    down: Rules { window_s: 300.0, policies: &[Policy::Percent { value: 100, period_s: 15.0 }] },
};

const ONE_BY_ONE: Behavior = Behavior {
    tolerance: TOLERANCE,
    up: Rules { window_s: 0.0, policies: &[Policy::Pods { value: 1, period_s: 180.0 }] },
    down: Rules { window_s: 300.0, policies: &[Policy::Pods { value: 1, period_s: 300.0 }] },
};

const SLO: Behavior = Behavior {
    tolerance: TOLERANCE,
    up: Rules {
        window_s: 30.0,
        policies: &[
            Policy::Percent { value: 100, period_s: 60.0 },
            Policy::Pods { value: 4, period_s: 60.0 },
        ],
    },
    down: Rules { window_s: 180.0, policies: &[Policy::Pods { value: 1, period_s: 120.0 }] },
};

impl Recipe {
    pub(super) const ALL: [Self; 4] = [Self::Queue, Self::QueueGuard, Self::TokenAware, Self::SloAware];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue 1 / running 16",
            Self::QueueGuard => "queue-guard",
            Self::TokenAware => "token-aware",
            Self::SloAware => "slo-aware",
        }
    }

    /// Returns by what its thresholds are divided, in percent. 100 is the guide; the others show what it would do if it was
    /// tuned to fewer or more replicas.
    pub(super) const fn factors_percent(self) -> &'static [u32] {
        match self {
            Self::Queue | Self::QueueGuard => &[70, 85, 100, 140],
            Self::TokenAware => &[100, 300, 600, 1_000],
            Self::SloAware => &[25, 40, 60, 100],
        }
    }

    /// Returns whether the guide has flow control switched on. The others read what reaches the pods.
    pub(super) const fn has_flow_control(self) -> bool {
        matches!(self, Self::Queue | Self::QueueGuard)
    }

    pub(super) const fn behavior(self) -> Behavior {
        match self {
            Self::Queue | Self::QueueGuard => DOUBLE,
            Self::TokenAware => ONE_BY_ONE,
            Self::SloAware => SLO,
        }
    }

    /// Returns the metrics that its triggers give. All thresholds are divided by `factor`; at 1 they are those of the guide.
    /// `prefill_per_second` is the calibrated speed of a pod.
    pub(super) fn metrics(self, scrapes: &Scrapes, factor: f64, prefill_per_second: f64) -> Vec<Average> {
        let values = &scrapes.last;
        match self {
            Self::Queue => {
                vec![metric(values.queue * factor, QUEUED), metric(values.running * factor, RUNNING)]
            }
            Self::QueueGuard => vec![metric(guarded(values, factor), 1.0)],
            Self::TokenAware => vec![
                metric(values.prefill_tokens / prefill_per_second * factor, BACKLOG_S),
                metric(values.kv_use * factor, KV_USE),
            ],
            Self::SloAware => vec![metric(by_latency(values, scrapes.latency() * factor), 1.0)],
        }
    }
}

/// Returns the replicas for the queue, less those that are starting, but not fewer than there are while more are needed.
fn guarded(values: &Values, factor: f64) -> f64 {
    let demand = (values.queue / QUEUED).max(values.running / RUNNING) * factor;
    let pending = values.replicas - values.ready;
    if demand <= values.replicas { demand } else { (demand - pending).max(values.replicas) }
}

/// Returns the replicas for a latency in parts of the goal.
fn by_latency(values: &Values, latency: f64) -> f64 {
    let Values { replicas, ready, .. } = *values;
    let credit = if ready > 0.0 && ready < replicas { ready / replicas } else { 1.0 };
    if latency > LATENCY_UP {
        replicas + (replicas * (latency * credit / LATENCY_UP - 1.0)).ceil()
    } else if latency < LATENCY_DOWN {
        replicas - (replicas * (1.0 - latency / LATENCY_DOWN)).floor()
    } else {
        replicas
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: Values = Values {
        queue: 12.0,
        running: 48.0,
        prefill_tokens: 27_000.0,
        kv_use: 3.2,
        replicas: 4.0,
        ready: 3.0,
    };

    #[test]
    fn queue_and_running_requests_have_their_own_targets() {
        let mut scrapes = Scrapes::default();
        scrapes.scrape(0.0, VALUES);
        let metrics = Recipe::Queue.metrics(&scrapes, 1.0, 9_000.0);
        assert_eq!(
            vec![Average { value: 12.0, target: 1.0 }, Average { value: 48.0, target: 16.0 }],
            metrics
        );
        let metrics = Recipe::TokenAware.metrics(&scrapes, 1.0, 9_000.0);
        assert_eq!(vec![Average { value: 3.0, target: 1.5 }, Average { value: 3.2, target: 0.8 }], metrics);
    }

    #[test]
    fn guard_does_not_count_starting_replicas_twice() {
        assert_eq!(11.0, guarded(&VALUES, 1.0));
        assert_eq!(4.0, guarded(&Values { queue: 4.5, ..VALUES }, 1.0));
        assert_eq!(3.0, guarded(&Values { queue: 0.0, ..VALUES }, 1.0));
    }

    #[test]
    fn latency_law_has_a_band_and_a_credit() {
        let settled = Values { ready: 4.0, ..VALUES };
        assert_eq!(4.0 + 4.0, by_latency(&settled, 1.1));
        assert_eq!(4.0 + 2.0, by_latency(&VALUES, 1.1));
        assert_eq!(4.0, by_latency(&settled, 0.5));
        assert_eq!(4.0 - 2.0, by_latency(&settled, 0.2));
        assert_eq!(0.0, by_latency(&settled, 0.0));
    }
}
