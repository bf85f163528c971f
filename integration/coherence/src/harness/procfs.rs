//! Reads CPU time and memory of processes and of the machine from `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::Context;

/// CPU time of the whole machine since it started, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SystemCpu {
    idle: u64,
    all: u64,
}

impl SystemCpu {
    /// Reads the current values.
    ///
    /// # Errors
    /// Fails when `/proc/stat` cannot be read.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let text = fs::read_to_string("/proc/stat")?;
        Self::parse(&text).context("/proc/stat has no line for all CPUs")
    }

    /// Parses the first line: `cpu user nice system idle iowait irq softirq steal guest guest_nice`.
    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let fields: Vec<u64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        // The user time includes the guest time.
        let all = fields.iter().take(8).sum();
        Some(Self { idle: fields.get(3)? + fields.get(4)?, all })
    }

    /// Returns the idle share since `before`.
    pub(crate) fn idle_share_since(self, before: Self) -> f64 {
        let (idle, all) = (self.idle - before.idle, self.all - before.all);
        if all == 0 { 1.0 } else { idle as f64 / all as f64 }
    }
}

/// CPU usage of a process, summed over its threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuUsage {
    /// Time running on a CPU.
    running_ns: u64,
    /// Time runnable but waiting for a CPU.
    waiting_ns: u64,
    /// Number of timeslices.
    timeslices: u64,
}

impl CpuUsage {
    /// Reads the usage of a process.
    ///
    /// # Errors
    /// Fails when the process is gone or `/proc` cannot be read.
    pub(crate) fn of_process(process: u32) -> anyhow::Result<Self> {
        let threads = fs::read_dir(format!("/proc/{process}/task"))?.flatten();
        let mut sum = Self::default();
        for thread in threads {
            let text = fs::read_to_string(thread.path().join("schedstat"))?;
            sum.add_thread(&text).context("cannot parse a schedstat file")?;
        }
        Ok(sum)
    }

    /// Adds one thread's schedstat: running time, waiting time, timeslices.
    fn add_thread(&mut self, text: &str) -> Option<()> {
        let mut fields = text.split_whitespace().map(|field| field.parse::<u64>().ok());
        self.running_ns += fields.next()??;
        self.waiting_ns += fields.next()??;
        self.timeslices += fields.next()??;
        Some(())
    }

    /// Returns the running time since `before`.
    pub(crate) fn running_time_since(self, before: Self) -> Duration {
        Duration::from_nanos(self.running_ns.saturating_sub(before.running_ns))
    }

    /// Returns the mean wait of a thread for a CPU since `before`, in milliseconds.
    pub(crate) fn mean_wait_ms_since(self, before: Self) -> f64 {
        let timeslices = self.timeslices.saturating_sub(before.timeslices).max(1);
        self.waiting_ns.saturating_sub(before.waiting_ns) as f64 / timeslices as f64 / 1e6
    }
}

/// Returns the resident memory of a process.
///
/// # Errors
/// Fails when the process is gone.
pub(crate) fn resident_bytes(process: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    parse_resident_bytes(&status).context("the status file has no VmRSS line")
}

fn parse_resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::{CpuUsage, SystemCpu, parse_resident_bytes, resident_bytes};

    #[test]
    fn idle_share_is_computed_from_the_difference() {
        let at = |text| SystemCpu::parse(text).unwrap();
        let (before, after) = (at("cpu  1 1 1 10 1 0 0 0 0 0\n"), at("cpu  2 1 1 11 1 0 0 0 9 9\ncpu0 1\n"));
        assert!((after.idle_share_since(before) - 0.5).abs() < 1e-9);
        assert_eq!(SystemCpu::parse("intr 1"), None);
    }

    #[test]
    fn threads_are_summed() {
        let mut sum = CpuUsage::default();
        sum.add_thread("100 3000000 1\n").unwrap();
        sum.add_thread("200 1000000 1\n").unwrap();
        assert_eq!(sum.running_ns, 300);
        assert!((sum.mean_wait_ms_since(CpuUsage::default()) - 2.0).abs() < 1e-9);
        assert_eq!(sum.add_thread("x"), None);
    }

    #[test]
    fn memory_is_reported_in_bytes() {
        assert_eq!(parse_resident_bytes("Name:\ta\nVmRSS:\t    2048 kB\n"), Some(2 << 20));
        assert!(resident_bytes(std::process::id()).unwrap() > 0);
    }
}
