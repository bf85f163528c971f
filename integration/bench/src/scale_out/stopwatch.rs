//! Measures CPU time.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The CPU time that this thread has spent on one kind of work. Unlike elapsed time, it does not grow while other
/// processes use the CPU.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stopwatch {
    /// The sum.
    pub(super) total: Duration,
    /// The most that was spent at once.
    pub(super) longest: Duration,
}

impl Stopwatch {
    /// Does `work` and adds the CPU time that it takes.
    pub(super) fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let before = cpu_time();
        let result = work();
        let spent = cpu_time().saturating_sub(before);
        self.total += spent;
        self.longest = self.longest.max(spent);
        result
    }

    /// Returns the sum in milliseconds.
    pub(super) fn total_ms(&self) -> f64 {
        self.total.as_secs_f64() * 1e3
    }

    /// Returns the most that was spent at once, in milliseconds.
    pub(super) fn longest_ms(&self) -> f64 {
        self.longest.as_secs_f64() * 1e3
    }
}

/// Returns the CPU time of this thread so far.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
