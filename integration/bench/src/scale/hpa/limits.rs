//! How fast an autoscaler may change the number of replicas.

/// By how much replicas may change within a period.
#[derive(Clone, Copy, Debug)]
pub(in crate::scale) enum Policy {
    /// By so many.
    Pods { value: u32, period_s: f64 },
    /// By so many percent of those at the beginning of the period.
    Percent { value: u32, period_s: f64 },
}

/// The rules for one direction. Of several policies the one that allows most counts.
#[derive(Clone, Copy, Debug)]
pub(in crate::scale) struct Rules {
    /// The stabilization window in seconds.
    pub(in crate::scale) window_s: f64,
    pub(in crate::scale) policies: &'static [Policy],
}

/// What was changed lately: the time in seconds, and by how many replicas.
#[derive(Debug, Default)]
pub(super) struct Events {
    up: Vec<(f64, u32)>,
    down: Vec<(f64, u32)>,
}

impl Policy {
    fn period_s(self) -> f64 {
        match self {
            Self::Pods { period_s, .. } | Self::Percent { period_s, .. } => period_s,
        }
    }
}

impl Events {
    /// Records that there are `to` replicas instead of `from`.
    pub(super) fn record(&mut self, now_s: f64, from: u32, to: u32) {
        if to > from {
            self.up.push((now_s, to - from));
        } else if to < from {
            self.down.push((now_s, from - to));
        }
    }

    /// Returns the most replicas that `rules` allow, at least `current`.
    pub(super) fn most(&self, now_s: f64, current: u32, rules: &Rules) -> u32 {
        let allowed = |policy: &Policy| {
            let before = self.before(now_s, current, policy.period_s());
            match *policy {
                Policy::Pods { value, .. } => before + f64::from(value),
                Policy::Percent { value, .. } => (before * (1.0 + f64::from(value) / 100.0)).ceil(),
            }
        };
        let most = rules.policies.iter().map(allowed).fold(0.0, f64::max);
        (most as u32).max(current)
    }

    /// Returns the fewest replicas that `rules` allow, at most `current`.
    pub(super) fn least(&self, now_s: f64, current: u32, rules: &Rules) -> u32 {
        let allowed = |policy: &Policy| {
            let before = self.before(now_s, current, policy.period_s());
            match *policy {
                Policy::Pods { value, .. } => before - f64::from(value),
                Policy::Percent { value, .. } => (before * (1.0 - f64::from(value) / 100.0)).floor(),
            }
        };
        let least = rules.policies.iter().map(allowed).fold(f64::INFINITY, f64::min);
        (least.max(0.0) as u32).min(current)
    }

    /// Returns how many replicas there were at the beginning of a period that ends now.
    fn before(&self, now_s: f64, current: u32, period_s: f64) -> f64 {
        let within = |events: &[(f64, u32)]| -> f64 {
            let recent = events.iter().filter(|(at_s, _)| *at_s > now_s - period_s);
            recent.map(|(_, change)| f64::from(*change)).sum()
        };
        f64::from(current) - within(&self.up) + within(&self.down)
    }
}
