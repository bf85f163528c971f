//! What others learn about a watch, for metrics.

/// Is told what happens to a watch. All methods must return at once.
pub trait PoolWatchObserver: Send + Sync + 'static {
    /// An object of `kind` (such as `InferencePool`) is left out wholly or in part. `reason` is that of the
    /// Event: `Invalid`, `NameTaken`, `PortTaken`, `PortNotOpen`, `InvalidSetting` or `AddressTaken`.
    fn object_rejected(&self, kind: &'static str, reason: &'static str);

    /// Listing or watching `resource` (such as `pods`) failed. `apis` stands for the list of custom resources.
    fn watch_failed(&self, resource: &'static str);

    /// The API server answered. Called every few seconds while it is available.
    fn contacted(&self);
}
