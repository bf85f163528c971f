//! Checks how often processes try to open streams.

use std::collections::{BTreeMap, VecDeque};

use super::{ProcessId, StepChecker};
use crate::cluster::message::StreamKind;
use crate::invariants::Invariant;
use crate::plan::Node;

/// How many attempts to open one stream a process may make in a window, and its length in microseconds. If every attempt is
/// in vain, the fastest that the backoff allows are 24: five that are 25 to 400 ms apart, and then one every 500 ms.
const MAX_ATTEMPTS: usize = 30;
const WINDOW_US: u64 = 10_000_000;

/// When each process tried to open a stream of a kind to a server, in microseconds: the latest attempts.
pub(super) type Attempts = BTreeMap<(ProcessId, StreamKind, Node), VecDeque<u64>>;

impl StepChecker {
    /// Checks an attempt to open a stream.
    pub(crate) fn check_attempt(&mut self, client: ProcessId, kind: StreamKind, server: Node) {
        // One stream of a collector goes to each aggregator in turn, with a backoff of its own.
        if kind == StreamKind::Collect {
            return;
        }
        let attempts = self.attempts.entry((client, kind, server)).or_default();
        attempts.push_back(self.now_us);
        while attempts.front().is_some_and(|at_us| at_us + WINDOW_US < self.now_us) {
            attempts.pop_front();
        }
        let count = attempts.len();
        if count > MAX_ATTEMPTS {
            self.fail(Invariant::ReconnectsAreSpaced, || {
                format!(
                    "{client:?} tried {count} times within ten seconds to open a {kind:?} stream to {server}"
                )
            });
        }
    }
}
