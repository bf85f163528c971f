//! Summarizes the rounds of the propagation measurement.

use std::time::Duration;

use crate::harness::machine_load::MachineLoad;
use crate::report::{GoalStatus, Section};
use crate::statistics::{largest, median, quantile};

/// Minimum idle share. Rounds with less are considered disturbed by other processes and are repeated.
const UNDISTURBED_IDLE_SHARE: f64 = 0.4;

const GOAL_MS: f64 = 10.0;

/// Measurements of one round.
pub(crate) struct Round {
    pub(crate) bookings: usize,
    /// Delay of each booking.
    pub(crate) delays_ms: Vec<f64>,
    /// View ages that a replica reports, sampled at arbitrary times.
    pub(crate) ages_ms: Vec<f64>,
    /// CPU time of the owner per booking.
    pub(crate) owner_us_each: f64,
    /// Mean wait of a thread for a CPU.
    pub(crate) owner_wait_ms: f64,
    pub(crate) replica_wait_ms: f64,
    pub(crate) machine_load: MachineLoad,
}

impl Round {
    /// Returns whether the machine was idle enough.
    pub(crate) fn is_undisturbed(&self) -> bool {
        self.machine_load.idle_share >= UNDISTURBED_IDLE_SHARE
    }

    fn summary(&self) -> String {
        let of = |share| quantile(&self.delays_ms, share);
        let (p50, p99, max) = (of(0.5), of(0.99), of(1.0));
        format!(
            "- {} bookings, p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.2} ms; {}",
            self.bookings, self.machine_load
        )
    }
}

/// Returns the report with medians of the undisturbed rounds, or of all if there are none.
pub(crate) fn section(per_second: f64, time: Duration, rounds: &[Round]) -> Section {
    let undisturbed: Vec<_> = rounds.iter().filter(|round| round.is_undisturbed()).collect();
    let included = if undisturbed.is_empty() { rounds.iter().collect() } else { undisturbed };
    let of =
        |figure: fn(&Round) -> f64| median(&included.iter().map(|round| figure(round)).collect::<Vec<_>>());
    let (p50, p99) =
        (of(|round| quantile(&round.delays_ms, 0.5)), of(|round| quantile(&round.delays_ms, 0.99)));
    let mut section = Section::new("Propagation of a booking");
    section.add("requests per second, over 2 replicas", format!("{per_second:.0}"));
    section.add("response to applied by a follower, p50", format!("{p50:.2} ms"));
    let (status, goal) = (GoalStatus::at_most(p99, GOAL_MS), format!("≤ {GOAL_MS} ms"));
    section.add_with_goal("response to applied by a follower, p99", format!("{p99:.2} ms"), &goal, status);
    let overrun = (of(|round| round.machine_load.overrun_ms.0), of(|round| round.machine_load.overrun_ms.1));
    section.add(
        "for comparison: overrun of a 1 ms sleep, p50 and p99",
        format!("{:.2} ms, {:.2} ms", overrun.0, overrun.1),
    );
    let waits = (of(|round| round.owner_wait_ms), of(|round| round.replica_wait_ms));
    section.add(
        "for comparison: mean wait of a thread for a CPU, owner and replica",
        format!("{:.3} ms, {:.3} ms", waits.0, waits.1),
    );
    let age = (of(|round| quantile(&round.ages_ms, 0.5)), of(|round| largest(&round.ages_ms)));
    section.add(
        "view age that the other replica reports, p50 and maximum",
        format!("{:.0} ms, {:.0} ms", age.0, age.1),
    );
    let owner_us = of(|round| round.owner_us_each);
    section.add("CPU time of the owner per booking at this rate", format!("{owner_us:.0} µs"));
    section.note(format!(
        "Medians of {} of {} rounds of {} s. Rounds in which the machine was less than {:.0} % idle are excluded, unless all were:",
        included.len(),
        rounds.len(),
        time.as_secs(),
        UNDISTURBED_IDLE_SHARE * 100.0
    ));
    section.note(rounds.iter().map(Round::summary).collect::<Vec<_>>().join("\n"));
    section
}
