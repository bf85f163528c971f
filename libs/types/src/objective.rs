//! How much a request matters, as its client names it.

/// A priority with a name, by which requests ask for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objective {
    /// Unique among the pool's objectives.
    pub name: String,
    /// More is served first; 0 is what a request without an objective has, and less than that is shed first.
    pub priority: i32,
}
