//! Decides which simulators start, drain and stop.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::up::simulator_count::SimulatorCount;

/// A simulator that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) name: String,
    /// Whether all replicas know that it drains, and none has a request there.
    pub(super) is_drained: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Start another simulator.
    Start,
    /// Stop this one, which has drained.
    Stop(String),
}

/// The simulators that start and drain.
#[derive(Debug)]
pub(super) struct Scaling {
    bounds: SimulatorCount,
    start_delay: Duration,
    wanted: u16,
    /// When each simulator that starts was asked for, the first one first.
    starting: VecDeque<Instant>,
    /// Those that get no more requests, and whether each had drained at the last step.
    draining: BTreeMap<String, bool>,
}

impl Scaling {
    pub(super) fn new(bounds: SimulatorCount, start_delay: Duration) -> Self {
        let wanted = bounds.min;
        Self { bounds, start_delay, wanted, starting: VecDeque::new(), draining: BTreeMap::new() }
    }

    /// Decides what to do now. `desired` is how many the pool needs; while that is not known, the last number holds. `running`
    /// are the simulators that run, in the order in which they stay.
    pub(super) fn step(&mut self, now: Instant, desired: Option<u32>, running: &[Running]) -> Vec<Effect> {
        if let Some(desired) = desired {
            let desired = u16::try_from(desired).unwrap_or(u16::MAX);
            self.wanted = desired.clamp(self.bounds.min, self.bounds.max);
        }
        let serving = || running.iter().filter(|of| !self.draining.contains_key(&of.name));
        let wanted = usize::from(self.wanted);
        let surplus: Vec<_> = serving().skip(wanted).map(|of| of.name.clone()).collect();
        // Those that drain still run, and count towards the upper bound.
        let room = usize::from(self.bounds.max).saturating_sub(running.len());
        let missing = wanted.saturating_sub(serving().count()).min(room);
        // Those that start are given up before any that serves.
        self.starting.truncate(missing);
        self.starting.resize(missing, now);
        let mut effects = self.stop_drained(running);
        self.draining.extend(surplus.into_iter().map(|name| (name, false)));
        let is_due = |asked: &&Instant| now.saturating_duration_since(**asked) >= self.start_delay;
        let due = self.starting.iter().take_while(is_due).count();
        self.starting.drain(..due);
        effects.extend((0..due).map(|_| Effect::Start));
        effects
    }

    /// Stops those that had drained at the last step, too: a request that a replica had routed just before it heard of the
    /// draining is booked by now.
    fn stop_drained(&mut self, running: &[Running]) -> Vec<Effect> {
        let mut stopped = Vec::new();
        self.draining.retain(|name, had_drained| {
            let is_drained = running.iter().any(|of| of.name == *name && of.is_drained);
            let stops = is_drained && *had_drained;
            if stops {
                stopped.push(Effect::Stop(name.clone()));
            }
            *had_drained = is_drained;
            !stops
        });
        stopped
    }

    /// Returns how many simulators are wanted.
    pub(super) fn wanted(&self) -> u16 {
        self.wanted
    }

    /// Returns how many simulators start.
    pub(super) fn starting(&self) -> usize {
        self.starting.len()
    }

    /// Returns whether the simulator with this name drains.
    pub(super) fn is_draining(&self, name: &str) -> bool {
        self.draining.contains_key(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_secs(10);

    fn scaling() -> Scaling {
        Scaling::new(SimulatorCount { min: 1, max: 4, is_range: true }, DELAY)
    }

    fn running(names: &[&str]) -> Vec<Running> {
        names.iter().map(|name| Running { name: (*name).to_owned(), is_drained: false }).collect()
    }

    fn stop(name: &str) -> Vec<Effect> {
        vec![Effect::Stop(name.to_owned())]
    }

    #[test]
    fn simulators_start_after_the_delay_and_within_the_bounds() {
        let (mut scaling, start) = (scaling(), Instant::now());
        let one = running(&["a"]);
        assert!(scaling.step(start, Some(9), &one).is_empty());
        assert_eq!((4, 3), (scaling.wanted(), scaling.starting()));
        // What is not known changes nothing.
        assert!(scaling.step(start + DELAY / 2, None, &one).is_empty());
        assert_eq!(vec![Effect::Start; 3], scaling.step(start + DELAY, None, &one));
        assert!(scaling.step(start + DELAY, None, &running(&["a", "b", "c", "d"])).is_empty());
        assert_eq!(0, scaling.starting());
    }

    #[test]
    fn simulator_that_could_not_start_is_tried_again_after_the_delay() {
        let (mut scaling, start) = (scaling(), Instant::now());
        let one = running(&["a"]);
        scaling.step(start, Some(2), &one);
        assert_eq!(vec![Effect::Start], scaling.step(start + DELAY, Some(2), &one));
        assert!(scaling.step(start + DELAY, Some(2), &one).is_empty());
        assert_eq!(vec![Effect::Start], scaling.step(start + DELAY * 2, Some(2), &one));
    }

    #[test]
    fn those_that_start_are_given_up_before_any_drains() {
        let (mut scaling, start) = (scaling(), Instant::now());
        let two = running(&["a", "b"]);
        scaling.step(start, Some(4), &two);
        assert!(scaling.step(start, Some(2), &two).is_empty());
        assert!(scaling.starting() == 0 && !scaling.is_draining("b"));
        // The lower bound stays.
        assert!(scaling.step(start, Some(0), &two).is_empty());
        assert_eq!((1, true, false), (scaling.wanted(), scaling.is_draining("b"), scaling.is_draining("a")));
    }

    #[test]
    fn simulator_stops_when_it_had_drained_twice_in_a_row() {
        let (mut scaling, start) = (scaling(), Instant::now());
        let mut three = running(&["a", "b", "c"]);
        assert!(scaling.step(start, Some(1), &three).is_empty());
        assert!(scaling.is_draining("b") && scaling.is_draining("c"));
        for is_drained in [true, false, true] {
            three[2].is_drained = is_drained;
            assert!(scaling.step(start, Some(1), &three).is_empty());
        }
        assert_eq!(stop("c"), scaling.step(start, Some(1), &three));
        assert!(scaling.is_draining("b") && !scaling.is_draining("c"));
    }

    #[test]
    fn those_that_drain_count_towards_the_upper_bound() {
        let (mut scaling, start) = (scaling(), Instant::now());
        let mut four = running(&["a", "b", "c", "d"]);
        scaling.step(start, Some(2), &four);
        assert!(scaling.is_draining("c") && scaling.is_draining("d"));
        // One that drains does not serve again, and no other one may start beside it.
        four[3].is_drained = true;
        assert!(scaling.step(start, Some(4), &four).is_empty());
        assert_eq!((0, stop("d")), (scaling.starting(), scaling.step(start, Some(4), &four)));
        four.pop();
        assert!(scaling.step(start, Some(4), &four).is_empty());
        assert_eq!(1, scaling.starting());
    }
}
