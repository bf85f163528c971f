//! The incarnations of a pod: everything that a restart loses.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use super::clock::unix_seconds;
use super::engine_handle::EngineHandle;
use super::faults::{FaultInjector, Faults, FaultsError};
use super::stored_responses::StoredResponses;
use crate::config::PodConfig;
use crate::engine::{ConfigError, Engine};

/// One run of the pod: an engine with its cache and requests, the faults, and the start time.
pub(crate) struct Incarnation {
    pub(crate) engine: EngineHandle,
    pub(crate) faults: FaultInjector,
    pub(crate) responses: StoredResponses,
    /// Unix time of the start.
    pub(crate) started_at_seconds: f64,
    /// Cancelled when a restart has ended this incarnation; breaks its connections.
    pub(crate) ended: CancellationToken,
    /// Stops the engine.
    stop: CancellationToken,
}

impl Incarnation {
    /// Starts an incarnation, which ends at the latest when `stop` is cancelled.
    fn start(config: &PodConfig, stop: CancellationToken) -> Result<Self, ConfigError> {
        let engine = Engine::new(config.model.clone())?;
        Ok(Self {
            engine: EngineHandle::spawn(engine, config.speed, stop.clone()),
            faults: FaultInjector::new(config.model.seed),
            responses: StoredResponses::default(),
            started_at_seconds: unix_seconds(),
            ended: CancellationToken::new(),
            stop,
        })
    }

    /// Replaces all faults.
    pub(crate) fn set_faults(&self, faults: Faults) -> Result<(), FaultsError> {
        self.faults.set(faults, self.engine.snapshot())?;
        self.engine.set_fault(faults.engine);
        Ok(())
    }
}

/// The successive incarnations of one pod.
pub(crate) struct Incarnations {
    current: ArcSwap<Incarnation>,
    /// Ends the current incarnation.
    abort: CancellationToken,
}

impl Incarnations {
    /// Starts the first incarnation; cancelling `abort` ends the current one at any time.
    pub(crate) fn start(config: &PodConfig, abort: CancellationToken) -> Result<Self, ConfigError> {
        let first = Incarnation::start(config, abort.child_token())?;
        Ok(Self { current: ArcSwap::from_pointee(first), abort })
    }

    /// Returns the current incarnation.
    pub(crate) fn current(&self) -> Arc<Incarnation> {
        self.current.load_full()
    }

    /// Ends the current incarnation with all its requests and connections, and starts the next.
    pub(crate) fn restart(&self, config: &PodConfig) -> Result<(), ConfigError> {
        let next = Incarnation::start(config, self.abort.child_token())?;
        let last = self.current.swap(Arc::new(next));
        // The order matters: a waiting client must see a broken connection, not an error response that says
        // that the pod is stopping.
        last.ended.cancel();
        last.stop.cancel();
        Ok(())
    }
}
