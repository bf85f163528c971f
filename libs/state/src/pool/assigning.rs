//! Tells collectors which endpoints they scrape, a bounded number with each input.

use super::{CollectorStream, Pool, PoolEffect};

/// The maximum number of endpoints in the assignments that are sent with one input, unless one collector has more.
const MAX_ENDPOINTS_PER_INPUT: usize = 2_048;

impl Pool {
    /// Tells the collectors on these streams their assignments, or begins to.
    pub(super) fn assign(&mut self, changed: Vec<CollectorStream>) -> Vec<PoolEffect> {
        self.untold.extend(changed);
        let mut effects = self.continue_assigning();
        if !self.untold.is_empty() {
            effects.push(PoolEffect::Unfinished);
        }
        effects
    }

    /// Tells the next collectors their assignments, as they are by now.
    pub(super) fn continue_assigning(&mut self) -> Vec<PoolEffect> {
        let (mut effects, mut endpoints) = (Vec::new(), 0);
        while endpoints < MAX_ENDPOINTS_PER_INPUT
            && let Some(stream) = self.untold.pop_first()
        {
            if self.assignments.contains(stream) {
                let assigned = self.assignments.endpoints_of(stream);
                endpoints += assigned.len();
                effects.push(PoolEffect::Assign(stream, assigned));
            }
        }
        effects
    }
}
