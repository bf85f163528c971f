//! Objectives: named request priorities.

/// A named priority that requests can ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objective {
    /// Name, unique among the pool's objectives.
    pub name: String,
    /// Higher priorities are served first. Requests without an objective have priority 0; negative priorities
    /// are shed first.
    pub priority: i32,
}
