//! From one start of a pod to the next: what a restart loses.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use crate::config::{ConfigError, PodConfig};
use crate::engine::Engine;
use crate::faults::{FaultSwitch, Faults, FaultsError};
use crate::pod::{Pod, unix_seconds};

/// An engine with its cache and requests, the faults, the time of the start.
pub(crate) struct Life {
    pub(crate) pod: Pod,
    pub(crate) faults: FaultSwitch,
    /// Unix time.
    pub(crate) started_at_seconds: f64,
    /// Cancelled when a restart has ended it: its connections break.
    pub(crate) gone: CancellationToken,
    /// Stops the engine.
    stop: CancellationToken,
}

impl Life {
    /// A new one, which ends with `stop` at the latest.
    fn begin(config: &PodConfig, stop: CancellationToken) -> Result<Self, ConfigError> {
        let engine = Engine::new(config.model.clone())?;
        Ok(Self {
            pod: Pod::spawn(engine, config.speed, stop.clone()),
            faults: FaultSwitch::new(config.model.seed),
            started_at_seconds: unix_seconds(),
            gone: CancellationToken::new(),
            stop,
        })
    }

    /// Replaces all faults.
    pub(crate) fn set_faults(&self, faults: Faults) -> Result<(), FaultsError> {
        self.faults.set(faults, self.pod.snapshot())?;
        self.pod.behave(faults.engine);
        Ok(())
    }
}

/// The lives of one pod, one after the other.
pub(crate) struct Lives {
    present: ArcSwap<Life>,
    /// Ends whichever is the present one.
    cut: CancellationToken,
}

impl Lives {
    /// Begins the first one; `cut` ends them all.
    pub(crate) fn begin(config: &PodConfig, cut: CancellationToken) -> Result<Self, ConfigError> {
        let first = Life::begin(config, cut.child_token())?;
        Ok(Self { present: ArcSwap::from_pointee(first), cut })
    }

    /// The one that is.
    pub(crate) fn present(&self) -> Arc<Life> {
        self.present.load_full()
    }

    /// Ends the present one, with all its requests and connections, and begins the next.
    pub(crate) fn restart(&self, config: &PodConfig) -> Result<(), ConfigError> {
        let next = Life::begin(config, self.cut.child_token())?;
        let last = self.present.swap(Arc::new(next));
        // In this order: whoever waits for an answer shall find the connection broken, not be told that the pod is stopping.
        last.gone.cancel();
        last.stop.cancel();
        Ok(())
    }
}
