//! Why requests that wait are not granted.

/// Why the requests that go next do not: the pool is full for them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shortage {
    /// Their priority.
    pub priority: i32,
    /// By how much the pool's saturation is too high for the last of them. All can go when it has fallen by more than that.
    pub excess: f64,
    /// Whether prompts that are not processed yet fill the pool, whatever its KV caches have room for.
    pub is_of_prompts: bool,
}
