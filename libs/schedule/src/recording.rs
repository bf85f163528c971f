//! What a decision read, so that it can be made again, anywhere and at any time, with the same answer.

use std::ops::Range;
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};
use signalbox_state::{LocalState, PrefixMatches, View};
use signalbox_types::{EndpointKey, Request};
use thiserror::Error;

use crate::decide::{Decision, decide};
use crate::decision_inputs::DecisionInputs;
use crate::explain::{Explanation, explain};
use crate::policy::Policy;

/// The seeds of decisions that may be recorded: the whole numbers that every JSON tool carries as they are.
pub const SEEDS: Range<u64> = 0..1 << 53;

/// Blocks of a prompt beyond which a recording is no true one.
const BLOCKS_AT_MOST: usize = u32::MAX as usize;

/// A decision and all that it read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recording {
    /// [`Recording::FORMAT`] of the build that made it.
    pub recording: u32,
    /// How many decisions its maker had recorded before it.
    pub number: u64,
    /// When it was made, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// The id of the request, where it has one.
    pub request_id: Option<String>,
    /// How old the view was, in milliseconds.
    pub view_age_ms: u64,
    /// The pool.
    pub view: Arc<View>,
    /// What the process knew better than the pool.
    pub local: LocalState,
    /// How much of the prompt each endpoint held.
    pub matches: PrefixMatches,
    /// The request.
    pub request: Request,
    /// What the decision went by.
    pub policy: Arc<Policy>,
    /// By which ties were broken, one of [`SEEDS`].
    pub seed: u64,
    /// What came of it.
    pub decision: Decision,
}

/// A decision that was made: when, for which request, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecisionAccount {
    /// How many decisions its maker had recorded before it.
    pub number: u64,
    /// When it was made, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// The id of the request, where it has one.
    pub request_id: Option<String>,
    /// Why it was made.
    #[serde(flatten)]
    pub explanation: Explanation,
}

/// A recording that no decision can have made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidRecording {
    /// It was made by a build that decides or writes otherwise.
    #[error("it has the format {0}, this build replays the format {format}", format = Recording::FORMAT)]
    Format(u32),
    /// The endpoints are not in order, or one has a key that is not that of its name.
    #[error("the endpoint {0} has the key of another, or is out of order")]
    Endpoint(String),
    /// A list does not have an entry for each endpoint.
    #[error("{list} has {entries} entries for {endpoints} endpoints")]
    Length {
        /// Which.
        list: &'static str,
        /// How many it has.
        entries: usize,
        /// How many there are to be.
        endpoints: usize,
    },
    /// More blocks are held than any prompt has.
    #[error("matches.blocks has more blocks than a prompt can have")]
    Blocks,
}

/// A recorded decision, made again.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// What came of it now.
    pub decision: Decision,
    /// Why.
    pub explanation: Explanation,
    /// Whether that is what came of it then.
    pub verdict: Verdict,
}

/// How a replayed decision compares with the recorded one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same endpoint for the same reasons.
    Same,
    /// Another endpoint, or the same one at another cost.
    Different,
}

impl Recording {
    /// Grows whenever a recording is written otherwise, or would be decided otherwise.
    pub const FORMAT: u32 = 1;

    /// What the decision read.
    pub fn inputs(&self) -> DecisionInputs<'_> {
        DecisionInputs {
            view: &self.view,
            local: &self.local,
            matches: &self.matches,
            request: &self.request,
        }
    }

    /// Why the decision was made.
    pub fn explain(&self) -> Explanation {
        explain(&self.inputs(), &self.policy, (self.view.heard_at_ms + self.view_age_ms, self.seed))
    }

    /// When the decision was made, for which request, and why.
    pub fn account(&self) -> DecisionAccount {
        let (number, at_unix_ms, request_id) = (self.number, self.at_unix_ms, self.request_id.clone());
        DecisionAccount { number, at_unix_ms, request_id, explanation: self.explain() }
    }

    /// Makes the decision again.
    ///
    /// # Errors
    /// [`InvalidRecording`] when no decision can have made this recording.
    pub fn replay(&self) -> Result<Replay, InvalidRecording> {
        self.check()?;
        let decision = decide(&self.inputs(), &self.policy, &mut SmallRng::seed_from_u64(self.seed));
        let verdict = if decision == self.decision { Verdict::Same } else { Verdict::Different };
        Ok(Replay { decision, explanation: self.explain(), verdict })
    }

    fn check(&self) -> Result<(), InvalidRecording> {
        if self.recording != Self::FORMAT {
            return Err(InvalidRecording::Format(self.recording));
        }
        let mut before = None;
        for member in self.view.endpoints.iter() {
            if member.key != EndpointKey::of(&member.spec.name) || Some(member.key) <= before {
                return Err(InvalidRecording::Endpoint(member.spec.name.clone()));
            }
            before = Some(member.key);
        }
        let endpoints = self.view.endpoints.len();
        let lists = [("local.own", self.local.own.len()), ("matches.blocks", self.matches.blocks.len())];
        match lists.into_iter().find(|(_, entries)| *entries != endpoints) {
            Some((list, entries)) => Err(InvalidRecording::Length { list, entries, endpoints }),
            None if self.matches.blocks.iter().any(|blocks| *blocks > BLOCKS_AT_MOST) => {
                Err(InvalidRecording::Blocks)
            }
            None => Ok(()),
        }
    }
}
