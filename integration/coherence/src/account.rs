//! What the kernel says of processes and of the machine.

use std::fs;
use std::time::Duration;

use anyhow::Context;

/// Ticks of all processors since the machine started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ticks {
    idle: u64,
    all: u64,
}

impl Ticks {
    /// Until now.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let text = fs::read_to_string("/proc/stat")?;
        Self::of(&text).context("/proc/stat has no line for all processors")
    }

    /// The first line: `cpu user nice system idle iowait irq softirq steal guest guest_nice`.
    fn of(text: &str) -> Option<Self> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let fields: Vec<u64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        // Guests' time is part of users' time.
        let all = fields.iter().take(8).sum();
        Some(Self { idle: fields.get(3)? + fields.get(4)?, all })
    }

    /// The share of idle time since `before`.
    pub(crate) fn idle_share_since(self, before: Self) -> f64 {
        let (idle, all) = (self.idle - before.idle, self.all - before.all);
        if all == 0 { 1.0 } else { idle as f64 / all as f64 }
    }
}

/// What the threads of a process have had of the processors, in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// Time that they ran.
    ran_ns: u64,
    /// Time that they could have run but waited for a processor.
    waited_ns: u64,
    /// How often they were let run.
    turns: u64,
}

impl Account {
    /// That of a process until now.
    ///
    /// # Errors
    /// When it is gone, or the kernel does not tell.
    pub(crate) fn of(process: u32) -> anyhow::Result<Self> {
        let threads = fs::read_dir(format!("/proc/{process}/task"))?.flatten();
        let mut sum = Self::default();
        for thread in threads {
            let text = fs::read_to_string(thread.path().join("schedstat"))?;
            sum.add(&text).context("the kernel does not say how long threads run")?;
        }
        Ok(sum)
    }

    /// `ran waited turns`.
    fn add(&mut self, text: &str) -> Option<()> {
        let mut fields = text.split_whitespace().map(|field| field.parse::<u64>().ok());
        self.ran_ns += fields.next()??;
        self.waited_ns += fields.next()??;
        self.turns += fields.next()??;
        Some(())
    }

    /// Time that they ran since `before`.
    pub(crate) fn ran_since(self, before: Self) -> Duration {
        Duration::from_nanos(self.ran_ns.saturating_sub(before.ran_ns))
    }

    /// How long a thread waited for its turn since `before`, on average, in milliseconds.
    pub(crate) fn mean_wait_ms_since(self, before: Self) -> f64 {
        let turns = self.turns.saturating_sub(before.turns).max(1);
        self.waited_ns.saturating_sub(before.waited_ns) as f64 / turns as f64 / 1e6
    }
}

/// Memory of a process that is in the machine's.
///
/// # Errors
/// When it is gone.
pub(crate) fn resident_bytes(process: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    resident(&status).context("the kernel does not say how much memory a process has")
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::{Account, Ticks, resident, resident_bytes};

    #[test]
    fn idle_time_is_a_share_of_all() {
        let at = |text| Ticks::of(text).unwrap();
        let (before, after) = (at("cpu  1 1 1 10 1 0 0 0 0 0\n"), at("cpu  2 1 1 11 1 0 0 0 9 9\ncpu0 1\n"));
        assert!((after.idle_share_since(before) - 0.5).abs() < 1e-9);
        assert_eq!(Ticks::of("intr 1"), None);
    }

    #[test]
    fn threads_are_added_up() {
        let mut sum = Account::default();
        sum.add("100 3000000 1\n").unwrap();
        sum.add("200 1000000 1\n").unwrap();
        assert_eq!(sum.ran_ns, 300);
        assert!((sum.mean_wait_ms_since(Account::default()) - 2.0).abs() < 1e-9);
        assert_eq!(sum.add("x"), None);
    }

    #[test]
    fn memory_is_in_bytes() {
        assert_eq!(resident("Name:\ta\nVmRSS:\t    2048 kB\n"), Some(2 << 20));
        assert!(resident_bytes(std::process::id()).unwrap() > 0);
    }
}
