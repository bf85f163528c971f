//! Recordings of decisions. A replay gives the same decision in any process and at any time.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use signalbox_state::{LocalState, PrefixMatches, View};
use signalbox_types::{EndpointKey, Request};
use thiserror::Error;

use crate::decision::Decision;
use crate::decision_inputs::DecisionInputs;
use crate::explain::{Explanation, explain};
use crate::policy::Policy;

/// Valid seeds of recorded decisions: the integers that every JSON tool preserves exactly.
pub const SEEDS: Range<u64> = 0..1 << 53;

/// Maximum number of blocks in a prompt; a recording with more is invalid.
const MAX_BLOCKS: usize = u32::MAX as usize;

/// A decision and everything that it read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recording {
    /// [`Recording::FORMAT`] of the build that wrote the recording.
    pub format_version: u32,
    /// Number of decisions that the replica recorded before.
    pub number: u64,
    /// Time of the decision, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// Id of the request, if it has one.
    pub request_id: Option<String>,
    /// Age of the view, in milliseconds.
    pub view_age_ms: u64,
    /// View of the pool.
    pub view: Arc<View>,
    /// State of the replica that was newer than the view.
    pub local: LocalState,
    /// How much of the prompt each endpoint held.
    pub matches: PrefixMatches,
    /// Request that was decided on.
    pub request: Request,
    /// Policy of the replica.
    pub policy: Arc<Policy>,
    /// Seed of the random choice among ties, one of [`SEEDS`].
    pub seed: u64,
    /// Decision that was made.
    pub decision: Decision,
    /// How the request waited before the decision, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited: Option<Waited>,
}

/// How a request waited in the picker, while the pool was full, before an endpoint was picked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waited {
    /// For how long, in milliseconds.
    pub ms: u64,
    /// The highest priority of which requests waited already, at any replica. Without one, the pool was full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind_priority: Option<i32>,
    /// How many requests waited already at the replica.
    pub behind_requests: u64,
}

impl fmt::Display for Waited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ms, behind_priority, behind_requests } = *self;
        write!(f, "waited {ms} ms for a place: ")?;
        match behind_priority {
            Some(priority) => {
                write!(
                    f,
                    "behind requests of priority {priority}, {behind_requests} of all that waited at this replica"
                )
            }
            None => f.write_str("the pool was full"),
        }
    }
}

/// A recorded decision with its explanation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedDecision {
    /// Number of decisions that the replica recorded before.
    pub number: u64,
    /// Time of the decision, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// Id of the request, if it has one.
    pub request_id: Option<String>,
    /// How the request waited before the decision, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited: Option<Waited>,
    /// Explanation of the decision.
    #[serde(flatten)]
    pub explanation: Explanation,
}

/// Why a recording is invalid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidRecording {
    /// A build with another recording format wrote it.
    #[error("recording format {0} is not supported; this build replays format {format}", format = Recording::FORMAT)]
    Format(u32),
    /// The endpoints are out of order, or a key does not match its name.
    #[error("the key of endpoint {0} does not match its name, or the endpoint is out of order")]
    Endpoint(String),
    /// A list does not have one entry per endpoint.
    #[error("{list} has {entries} entries for {endpoints} endpoints")]
    Length {
        /// Name of the list.
        list: &'static str,
        /// Number of entries.
        entries: usize,
        /// Number of endpoints.
        endpoints: usize,
    },
    /// An endpoint holds more blocks than a prompt can have.
    #[error("matches.blocks has an entry with more blocks than a prompt can have")]
    Blocks,
}

/// The result of a replay.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// Decision of the replay.
    pub decision: Decision,
    /// Explanation of the replayed decision.
    pub explanation: Explanation,
    /// Comparison with the recorded decision.
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
    /// Version of the recording format. It grows whenever recordings are written differently, or the same
    /// recording would give another decision.
    pub const FORMAT: u32 = 2;

    /// Returns the inputs of the decision.
    pub fn inputs(&self) -> DecisionInputs<'_> {
        DecisionInputs {
            view: &self.view,
            local: &self.local,
            matches: &self.matches,
            request: &self.request,
        }
    }

    /// Explains the decision.
    pub fn explain(&self) -> Explanation {
        self.decide().1
    }

    /// Repeats the decision, and explains it.
    fn decide(&self) -> (Decision, Explanation) {
        explain(&self.inputs(), &self.policy, (self.view_age_ms, self.seed))
    }

    /// Returns the decision with its explanation.
    pub fn to_explained(&self) -> ExplainedDecision {
        let (number, at_unix_ms, request_id) = (self.number, self.at_unix_ms, self.request_id.clone());
        ExplainedDecision { number, at_unix_ms, request_id, waited: self.waited, explanation: self.explain() }
    }

    /// Repeats the decision and compares it with the recorded one.
    ///
    /// # Errors
    /// [`InvalidRecording`] if the recording has another format or is inconsistent.
    pub fn replay(&self) -> Result<Replay, InvalidRecording> {
        self.validate()?;
        let (decision, explanation) = self.decide();
        let verdict = if decision == self.decision { Verdict::Same } else { Verdict::Different };
        Ok(Replay { decision, explanation, verdict })
    }

    fn validate(&self) -> Result<(), InvalidRecording> {
        if self.format_version != Self::FORMAT {
            return Err(InvalidRecording::Format(self.format_version));
        }
        let mut previous = None;
        for endpoint in self.view.endpoints.iter() {
            if endpoint.key != EndpointKey::of(&endpoint.spec.name) || Some(endpoint.key) <= previous {
                return Err(InvalidRecording::Endpoint(endpoint.spec.name.clone()));
            }
            previous = Some(endpoint.key);
        }
        let endpoints = self.view.endpoints.len();
        let peers = Some(self.local.peers.len()).filter(|entries| *entries > 0);
        let lists = [
            ("local.own", self.local.own.len()),
            ("local.peers", peers.unwrap_or(endpoints)),
            ("matches.blocks", self.matches.blocks.len()),
        ];
        match lists.into_iter().find(|(_, entries)| *entries != endpoints) {
            Some((list, entries)) => Err(InvalidRecording::Length { list, entries, endpoints }),
            None if self.matches.blocks.iter().any(|blocks| *blocks > MAX_BLOCKS) => {
                Err(InvalidRecording::Blocks)
            }
            None => Ok(()),
        }
    }
}
