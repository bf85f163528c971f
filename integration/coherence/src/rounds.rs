//! What the rounds of a measurement say together.

use std::time::Duration;

use crate::figures::{largest, median, quantile};
use crate::report::{Section, Verdict};
use crate::strain::Strain;

/// A round in which the machine was less idle than this was disturbed by others, and is played again.
const UNDISTURBED_SHARE: f64 = 0.4;

const GOAL_MS: f64 = 10.0;

/// What was measured in one round.
pub(crate) struct Round {
    pub(crate) bookings: usize,
    /// Of each booking.
    pub(crate) delays_ms: Vec<f64>,
    /// Of a replica's view, as it says, at moments of no meaning.
    pub(crate) ages_ms: Vec<f64>,
    /// The owner's time on a processor for each booking.
    pub(crate) owner_us_each: f64,
    /// How long a thread waited for a processor, on average.
    pub(crate) owner_wait_ms: f64,
    pub(crate) replica_wait_ms: f64,
    pub(crate) strain: Strain,
}

impl Round {
    /// Whether nobody else was busy meanwhile.
    pub(crate) fn is_undisturbed(&self) -> bool {
        self.strain.idle_share >= UNDISTURBED_SHARE
    }

    fn told(&self) -> String {
        let of = |share| quantile(&self.delays_ms, share);
        let (half, most, all) = (of(0.5), of(0.99), of(1.0));
        format!(
            "- {} bookings, p50 {half:.2} ms, p99 {most:.2} ms, largest {all:.2} ms; {}",
            self.bookings, self.strain
        )
    }
}

/// Medians of the rounds that were not disturbed, if there are any.
pub(crate) fn section(per_second: f64, time: Duration, rounds: &[Round]) -> Section {
    let undisturbed: Vec<_> = rounds.iter().filter(|round| round.is_undisturbed()).collect();
    let counted = if undisturbed.is_empty() { rounds.iter().collect() } else { undisturbed };
    let of =
        |figure: fn(&Round) -> f64| median(&counted.iter().map(|round| figure(round)).collect::<Vec<_>>());
    let (half, most) =
        (of(|round| quantile(&round.delays_ms, 0.5)), of(|round| quantile(&round.delays_ms, 0.99)));
    let mut section = Section::new("Propagation of a booking");
    section.tell("requests a second, over 2 replicas", format!("{per_second:.0}"));
    section.tell("answer to applied elsewhere, p50", format!("{half:.2} ms"));
    let (verdict, goal) = (Verdict::at_most(most, GOAL_MS), format!("≤ {GOAL_MS} ms"));
    section.judge("answer to applied elsewhere, p99", format!("{most:.2} ms"), &goal, verdict);
    let late = (of(|round| round.strain.late_ms.0), of(|round| round.strain.late_ms.1));
    section.tell(
        "beside it: how late a sleep of 1 ms ends, p50 and p99",
        format!("{:.2} ms, {:.2} ms", late.0, late.1),
    );
    let waits = (of(|round| round.owner_wait_ms), of(|round| round.replica_wait_ms));
    section.tell(
        "beside it: mean wait of a thread for a processor, at the owner and at a replica",
        format!("{:.3} ms, {:.3} ms", waits.0, waits.1),
    );
    let age = (of(|round| quantile(&round.ages_ms, 0.5)), of(|round| largest(&round.ages_ms)));
    section.tell(
        "age of the other replica's view by its own clock, p50 and largest",
        format!("{:.0} ms, {:.0} ms", age.0, age.1),
    );
    let owner_us = of(|round| round.owner_us_each);
    section.tell("the owner's time for a booking at this rate", format!("{owner_us:.0} µs"));
    section.note(format!(
        "Medians of {} of {} rounds of {} s, those in which the machine was at least {:.0} % idle, or all if it never was:",
        counted.len(),
        rounds.len(),
        time.as_secs(),
        UNDISTURBED_SHARE * 100.0
    ));
    section.note(rounds.iter().map(Round::told).collect::<Vec<_>>().join("\n"));
    section
}
