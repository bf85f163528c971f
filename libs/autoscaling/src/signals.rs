//! What is known of the pools.

use std::sync::Arc;

use futures_util::stream::BoxStream;
use signalbox_signal::{Signal, Unavailable};
use signalbox_types::PoolId;

/// Yields once at the start, and after each change of a pool's signal. Ends when the pool is gone.
pub type SignalChanges = BoxStream<'static, ()>;

/// The signals of the pools, in memory. Clones share them.
pub trait Signals: Clone + Send + Sync + 'static {
    /// Returns the pools of a namespace, ordered by name.
    fn pools(&self, namespace: &str) -> Vec<PoolId>;

    /// Returns the latest signal of a pool; `None` if there is no such pool.
    fn latest(&self, pool: &PoolId) -> Option<Latest>;

    /// Returns the changes of a pool's signal; `None` if there is no such pool.
    fn changes(&self, pool: &PoolId) -> Option<SignalChanges>;
}

/// The latest signal of a pool.
#[derive(Clone, Debug, Default)]
pub struct Latest {
    /// The signal; `None` before the first.
    pub signal: Option<Arc<Signal>>,
    /// The time now, in milliseconds of the pool's clock.
    pub now_ms: u64,
}

impl Latest {
    /// Returns the signal if it may be used now.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn usable(&self) -> Result<&Signal, Unavailable> {
        let signal = self.signal.as_deref().ok_or(Unavailable::Unknown)?;
        signal.check(self.now_ms)?;
        Ok(signal)
    }
}
