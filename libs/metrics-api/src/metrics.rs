//! What the APIs serve, as their caller knows it.

use signalbox_types::PoolId;

/// A value of a metric of a pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The value.
    pub value: f64,
    /// When the value was true: RFC 3339, in UTC, to the second.
    pub timestamp: String,
}

/// Why there is no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoReading {
    /// The request selects no part of the pool, or several with values that cannot be one. The text says which there are.
    Selection(String),
    /// What is known is too old or incomplete. The text says what is missing.
    Unavailable(String),
}

/// Whether a part of a pool with these labels is selected.
pub type IsSelected<'a> = &'a dyn Fn(&[(&str, &str)]) -> bool;

/// The metrics of the pools.
pub trait Metrics {
    /// The names of all metrics.
    fn names(&self) -> &[&'static str];

    /// The pools of a namespace.
    fn pools(&self, namespace: &str) -> Vec<PoolId>;

    /// Returns the value of a metric of the selected part of a pool. Both are known names.
    ///
    /// # Errors
    /// [`NoReading`].
    fn read(&self, pool: &PoolId, metric: &str, is_selected: IsSelected<'_>) -> Result<Reading, NoReading>;
}
