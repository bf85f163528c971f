//! How busy the machine is while something is measured: what others take of it is in every number.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::account::Ticks;
use crate::figures::quantile;

/// How long the probe sleeps.
const NAP: Duration = Duration::from_millis(1);

/// A look at the machine that goes on.
#[derive(Debug)]
pub(crate) struct Probe {
    before: Ticks,
    over: Arc<AtomicBool>,
    napping: JoinHandle<Vec<f64>>,
}

/// What was seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strain {
    /// Of all processors' time.
    pub(crate) idle_share: f64,
    /// By how much a sleep of 1 ms was too long: half of them by less, and 99 of 100.
    pub(crate) late_ms: (f64, f64),
}

impl Probe {
    /// Begins.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let napping = std::thread::spawn(move || nap(&is_over));
        Ok(Self { before: Ticks::read()?, over, napping })
    }

    /// Ends.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub(crate) fn end(self) -> anyhow::Result<Strain> {
        let idle_share = Ticks::read()?.idle_share_since(self.before);
        self.over.store(true, Ordering::Relaxed);
        let late_ms = self.napping.join().ok().context("the probe broke down")?;
        Ok(Strain { idle_share, late_ms: (quantile(&late_ms, 0.5), quantile(&late_ms, 0.99)) })
    }
}

fn nap(is_over: &AtomicBool) -> Vec<f64> {
    let mut late_ms = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        std::thread::sleep(NAP);
        late_ms.push((begun.elapsed().saturating_sub(NAP)).as_secs_f64() * 1e3);
    }
    late_ms
}

impl fmt::Display for Strain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (half, most) = self.late_ms;
        write!(
            formatter,
            "machine {:.0} % idle; a sleep of 1 ms is {half:.2} ms late (p99 {most:.2} ms)",
            self.idle_share * 100.0
        )
    }
}
