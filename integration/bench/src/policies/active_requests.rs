//! The requests in flight at each worker, and what replicas tell each other of them.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use signalbox_prefix::IdentityHasher;

/// What a replica tells the others of its requests, which it names by their numbers.
#[derive(Clone, Debug)]
pub(crate) enum PeerUpdate {
    /// A request was sent to a worker.
    Added(usize, ActiveRequest),
    /// The first output of a request arrived.
    PrefillCompleted(usize),
    /// A request ended.
    Ended(usize),
}

/// A request in flight.
#[derive(Clone, Debug)]
pub(crate) struct ActiveRequest {
    pub(super) worker: usize,
    /// The engine's full blocks of its prompt.
    pub(super) blocks: Arc<[u64]>,
    /// Tokens that the worker has to prefill; 0 once it has.
    pub(super) prefill_tokens: u64,
}

/// All requests in flight that a replica knows of.
pub(super) struct ActiveRequests {
    requests: HashMap<usize, ActiveRequest>,
    workers: Vec<Worker>,
}

#[derive(Default)]
struct Worker {
    /// The distinct blocks of its requests, with the number of requests that have them.
    blocks: HashMap<u64, u32, BuildHasherDefault<IdentityHasher>>,
    prefill_tokens: u64,
}

impl ActiveRequests {
    pub(super) fn new(workers: usize) -> Self {
        Self { requests: HashMap::new(), workers: (0..workers).map(|_| Worker::default()).collect() }
    }

    pub(super) fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Returns the tokens that a worker still has to prefill.
    pub(super) fn prefill_tokens(&self, worker: usize) -> u64 {
        self.workers[worker].prefill_tokens
    }

    /// Returns the number of distinct blocks that each worker would have with a further request.
    pub(super) fn blocks_with(&self, blocks: &[u64]) -> Vec<usize> {
        let with = |worker: &Worker| {
            let shared = blocks.iter().take_while(|block| worker.blocks.contains_key(*block)).count();
            worker.blocks.len() + blocks.len() - shared
        };
        self.workers.iter().map(with).collect()
    }

    pub(super) fn apply(&mut self, update: &PeerUpdate) {
        match update {
            PeerUpdate::Added(number, request) => self.add(*number, request.clone()),
            PeerUpdate::PrefillCompleted(number) => self.complete_prefill(*number),
            PeerUpdate::Ended(number) => self.remove(*number),
        }
    }

    fn add(&mut self, number: usize, request: ActiveRequest) {
        let worker = &mut self.workers[request.worker];
        worker.prefill_tokens += request.prefill_tokens;
        request.blocks.iter().for_each(|block| *worker.blocks.entry(*block).or_default() += 1);
        self.requests.insert(number, request);
    }

    fn complete_prefill(&mut self, number: usize) {
        let Some(request) = self.requests.get_mut(&number) else { return };
        self.workers[request.worker].prefill_tokens -= std::mem::take(&mut request.prefill_tokens);
    }

    fn remove(&mut self, number: usize) {
        self.complete_prefill(number);
        let Some(request) = self.requests.remove(&number) else { return };
        let blocks = &mut self.workers[request.worker].blocks;
        for block in request.blocks.iter() {
            let Some(count) = blocks.get_mut(block) else { continue };
            *count -= 1;
            if *count == 0 {
                blocks.remove(block);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(worker: usize, blocks: &[u64], prefill_tokens: u64) -> ActiveRequest {
        ActiveRequest { worker, blocks: blocks.into(), prefill_tokens }
    }

    #[test]
    fn shared_blocks_count_once_until_the_last_request_with_them_ends() {
        let mut active = ActiveRequests::new(2);
        active.apply(&PeerUpdate::Added(1, request(0, &[1, 2, 3], 48)));
        active.apply(&PeerUpdate::Added(2, request(0, &[1, 2, 4], 16)));
        assert_eq!((vec![5, 3], 64), (active.blocks_with(&[1, 2, 9]), active.prefill_tokens(0)));
        active.apply(&PeerUpdate::PrefillCompleted(1));
        active.apply(&PeerUpdate::Ended(1));
        assert_eq!((vec![4, 3], 16), (active.blocks_with(&[1, 2, 9]), active.prefill_tokens(0)));
        active.apply(&PeerUpdate::Ended(2));
        active.apply(&PeerUpdate::Ended(2));
        assert_eq!((vec![3, 3], 0), (active.blocks_with(&[1, 2, 9]), active.prefill_tokens(0)));
    }
}
