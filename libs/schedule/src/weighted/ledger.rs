//! What is written down of a decision, where somebody wants to know.

use serde::{Deserialize, Serialize};

use super::{FilterStep, ScorerStep, clamped};
use crate::decision_inputs::{DecisionInputs, Standing};

/// One scorer's part in a candidate's total.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// The scorer's name.
    pub scorer: String,
    /// What it gave, before it is cut to 0 to 1.
    pub score: f64,
    /// Its weight.
    pub weight: f64,
    /// What that adds to the total.
    pub product: f64,
}

/// Is told how a decision is made.
pub(crate) trait Witness {
    /// `step` left `after` of `before`, both in order.
    fn filtered(&mut self, step: &FilterStep, before: &[usize], after: &[usize]);
    /// `step` gave each of `positions` a score.
    fn scored(&mut self, step: &ScorerStep, positions: &[usize], scores: &[f64]);
    /// Each of `positions` has its total.
    fn totalled(&mut self, positions: &[usize], totals: &[f64]);
}

/// Writes nothing down.
pub(crate) struct Unwatched;

impl Witness for Unwatched {
    fn filtered(&mut self, _: &FilterStep, _: &[usize], _: &[usize]) {}
    fn scored(&mut self, _: &ScorerStep, _: &[usize], _: &[f64]) {}
    fn totalled(&mut self, _: &[usize], _: &[f64]) {}
}

/// Writes everything down.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// In the order of the view's members.
    pub(crate) entries: Vec<Entry>,
}

/// What became of one member of the view.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Entry {
    pub(crate) removed_by: Option<String>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) total: Option<f64>,
}

impl Ledger {
    /// Nothing happened yet, but that the gateway does not allow some.
    pub(crate) fn new(inputs: &DecisionInputs<'_>) -> Self {
        let entry = |at| match inputs.is_allowed(at) {
            true => Entry::default(),
            false => Entry { removed_by: Some("subset".to_owned()), ..Entry::default() },
        };
        Self { entries: (0..inputs.view.endpoints.len()).map(entry).collect() }
    }

    /// Those of whom nothing is written were no candidates, because of what they are.
    pub(crate) fn close(&mut self, inputs: &DecisionInputs<'_>) {
        for (at, entry) in self.entries.iter_mut().enumerate() {
            let standing = inputs.standing(at);
            if entry.removed_by.is_none() && entry.total.is_none() && standing != Standing::Sound {
                entry.removed_by = Some(standing.name().to_owned());
            }
        }
    }
}

impl Witness for Ledger {
    fn filtered(&mut self, step: &FilterStep, before: &[usize], after: &[usize]) {
        for at in before.iter().filter(|at| !after.contains(at)) {
            self.entries[*at].removed_by = Some(step.name.clone());
        }
    }

    fn scored(&mut self, step: &ScorerStep, positions: &[usize], scores: &[f64]) {
        for (at, score) in positions.iter().zip(scores) {
            let (scorer, score, weight) = (step.name.clone(), *score, step.weight);
            self.entries[*at].marks.push(Mark { scorer, score, weight, product: clamped(score) * weight });
        }
    }

    fn totalled(&mut self, positions: &[usize], totals: &[f64]) {
        for (at, total) in positions.iter().zip(totals) {
            self.entries[*at].total = Some(*total);
        }
    }
}
