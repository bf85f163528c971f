//! What the horizontal pod autoscaler does with metrics of the type `AverageValue`: an independent implementation of the
//! arithmetic of `pkg/controller/podautoscaler` in Kubernetes 1.36.

mod limits;

pub(super) use self::limits::{Policy, Rules};

use self::limits::Events;

/// `behavior` of an autoscaler.
#[derive(Clone, Copy, Debug)]
pub(super) struct Behavior {
    /// A metric whose ratio to its target differs from 1 by no more than this changes nothing.
    pub(super) tolerance: f64,
    pub(super) up: Rules,
    pub(super) down: Rules,
}

/// A metric of the type `AverageValue`: the sum over the pool, and the target for one replica.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Average {
    pub(super) value: f64,
    pub(super) target: f64,
}

/// A metric that could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unknown;

/// An autoscaler of one Deployment.
#[derive(Debug)]
pub(super) struct Hpa {
    behavior: Behavior,
    least: u32,
    most: u32,
    /// What was recommended in the stabilization windows, with the time in seconds.
    recommended: Vec<(f64, u32)>,
    events: Events,
}

impl Hpa {
    /// How often it reads its metrics, in seconds.
    pub(super) const SYNC_S: u64 = 15;

    pub(super) fn new(behavior: Behavior, least: u32, most: u32) -> Self {
        Self { behavior, least, most, recommended: Vec::new(), events: Events::default() }
    }

    /// Returns the replicas that the Deployment is to have, at `now_s`; it has `current` now.
    pub(super) fn sync(&mut self, now_s: f64, current: u32, metrics: &[Result<Average, Unknown>]) -> u32 {
        let Some(proposed) = combined(current, metrics, self.behavior.tolerance) else { return current };
        let stable = self.stabilized(now_s, current, proposed);
        let Behavior { up, down, .. } = self.behavior;
        let replicas = if stable > current {
            stable.min(self.events.most(now_s, current, &up).min(self.most))
        } else if stable < current {
            stable.max(self.events.least(now_s, current, &down).max(self.least))
        } else {
            stable
        };
        let replicas = replicas.clamp(self.least, self.most);
        self.events.record(now_s, current, replicas);
        replicas
    }

    /// Returns the lowest recommendation of the window for going up if more are needed, the highest of that for going down if
    /// fewer are.
    fn stabilized(&mut self, now_s: f64, current: u32, proposed: u32) -> u32 {
        let Behavior { up, down, .. } = self.behavior;
        let within = |window_s: f64| {
            let after = move |(at_s, _): &&(f64, u32)| *at_s > now_s - window_s;
            self.recommended.iter().filter(after).map(|(_, replicas)| *replicas)
        };
        let lowest = within(up.window_s).fold(proposed, u32::min);
        let highest = within(down.window_s).fold(proposed, u32::max);
        let longest_s = up.window_s.max(down.window_s);
        self.recommended.retain(|(at_s, _)| *at_s > now_s - longest_s);
        self.recommended.push((now_s, proposed));
        current.max(lowest).min(highest)
    }
}

/// Returns the highest proposal. With a metric that is not known, only a higher number counts; `None` if nothing does.
fn combined(current: u32, metrics: &[Result<Average, Unknown>], tolerance: f64) -> Option<u32> {
    let known = metrics.iter().flatten().map(|metric| metric.propose(current, tolerance)).max()?;
    let is_complete = metrics.iter().all(Result::is_ok);
    (is_complete || known >= current).then_some(known)
}

impl Average {
    /// Returns how many replicas this metric asks for. Like the controller's, the arithmetic is that of thousandths, rounded
    /// up.
    fn propose(self, current: u32, tolerance: f64) -> u32 {
        let milli = |value: f64| (value * 1e3 - 1e-6).ceil();
        let (value, target) = (milli(self.value), milli(self.target));
        let ratio = value / (target * f64::from(current));
        if (1.0 - ratio).abs() <= tolerance { current } else { (value / target).ceil() as u32 }
    }
}

#[cfg(test)]
mod tests;
