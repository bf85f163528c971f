//! Measures how busy the machine is during a measurement, because other processes affect every result.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::procfs::SystemCpu;
use crate::statistics::quantile;

/// Sleep time of the probe.
const SLEEP: Duration = Duration::from_millis(1);

/// A running measurement of the machine's load.
#[derive(Debug)]
pub(crate) struct MachineLoadProbe {
    before: SystemCpu,
    stop: Arc<AtomicBool>,
    sleeper: JoinHandle<Vec<f64>>,
}

/// The load of the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MachineLoad {
    /// Idle share of the total CPU time.
    pub(crate) idle_share: f64,
    /// Overrun of a 1 ms sleep: p50 and p99.
    pub(crate) overrun_ms: (f64, f64),
}

impl MachineLoadProbe {
    /// Starts the measurement.
    ///
    /// # Errors
    /// Fails when `/proc/stat` cannot be read.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::clone(&stop);
        let sleeper = std::thread::spawn(move || measure_overruns(&is_stopped));
        Ok(Self { before: SystemCpu::read()?, stop, sleeper })
    }

    /// Ends the measurement.
    ///
    /// # Errors
    /// Fails when `/proc/stat` cannot be read.
    pub(crate) fn end(self) -> anyhow::Result<MachineLoad> {
        let idle_share = SystemCpu::read()?.idle_share_since(self.before);
        self.stop.store(true, Ordering::Relaxed);
        let overrun_ms = self.sleeper.join().ok().context("the probe thread panicked")?;
        Ok(MachineLoad { idle_share, overrun_ms: (quantile(&overrun_ms, 0.5), quantile(&overrun_ms, 0.99)) })
    }
}

fn measure_overruns(is_stopped: &AtomicBool) -> Vec<f64> {
    let mut overrun_ms = Vec::new();
    while !is_stopped.load(Ordering::Relaxed) {
        let start = Instant::now();
        std::thread::sleep(SLEEP);
        overrun_ms.push((start.elapsed().saturating_sub(SLEEP)).as_secs_f64() * 1e3);
    }
    overrun_ms
}

impl fmt::Display for MachineLoad {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99) = self.overrun_ms;
        write!(
            formatter,
            "machine {:.0} % idle; a 1 ms sleep overruns by {p50:.2} ms (p99 {p99:.2} ms)",
            self.idle_share * 100.0
        )
    }
}
