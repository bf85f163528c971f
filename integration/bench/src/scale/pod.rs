//! A model server, coarse enough that hours take a second.
//!
//! It batches like the engine of `signalbox-modelsim` and takes the duration of a pass from there, but does not step through
//! the passes: while no request starts or ends, all passes are alike, so its prefill and its decoding go on at constant
//! speeds. A first token is early by less than a pass.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

use signalbox_modelsim::ModelConfig;
use signalbox_modelsim::engine::PassWork;

use super::request::{Request, RequestId};

/// What a pod has done until it was advanced.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// Requests whose first token came.
    pub(super) first: Vec<RequestId>,
    /// Requests that ended.
    pub(super) ended: Vec<RequestId>,
}

/// A request whose prompt is not processed yet.
#[derive(Clone, Copy, Debug)]
struct Prompt {
    id: RequestId,
    /// Tokens that are not processed.
    left: f64,
    prompt: f64,
    output: f64,
}

/// A request that produces output.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Decoding {
    /// The pod's `decoded` when it ends.
    end: f64,
    id: RequestId,
    kv_tokens: f64,
}

/// A model server.
#[derive(Debug)]
pub(super) struct Pod {
    model: &'static ModelConfig,
    now_s: f64,
    /// Prompts that the passes of the moment work on, in order, and those that wait.
    started: VecDeque<Prompt>,
    waiting: VecDeque<Prompt>,
    /// The tokens of the prompts that wait.
    waiting_tokens: f64,
    decoding: BinaryHeap<Decoding>,
    /// Output tokens that a request has got that has been decoding all the time.
    decoded: f64,
    /// Tokens of the KV cache: of a request, its prompt and half of its output.
    kv_tokens: f64,
    pass: Pass,
    /// When something happens next if nothing is added.
    next_s: Option<f64>,
    pub(super) requests: u64,
    pub(super) output_tokens: u64,
}

/// The passes of the moment.
#[derive(Clone, Copy, Debug, Default)]
struct Pass {
    seconds: f64,
    prefill_tokens: f64,
}

impl Pod {
    pub(super) fn new(model: &'static ModelConfig, now_s: f64) -> Self {
        Self {
            model,
            now_s,
            started: VecDeque::new(),
            waiting: VecDeque::new(),
            waiting_tokens: 0.0,
            decoding: BinaryHeap::new(),
            decoded: 0.0,
            kv_tokens: 0.0,
            pass: Pass::default(),
            next_s: None,
            requests: 0,
            output_tokens: 0,
        }
    }

    /// Adds a request. The pod must have been advanced to `now_s`, or have nothing to do until then.
    pub(super) fn push(&mut self, now_s: f64, id: RequestId, request: &Request) {
        self.flow(now_s);
        let prompt = f64::from(request.prompt_tokens);
        self.waiting_tokens += prompt;
        self.waiting.push_back(Prompt { id, left: prompt, prompt, output: f64::from(request.output_tokens) });
        self.plan();
    }

    /// Returns when something happens next if nothing is added.
    pub(super) fn next_s(&self) -> Option<f64> {
        self.next_s
    }

    /// Advances to `now_s`, which is not after [`Self::next_s`].
    pub(super) fn advance(&mut self, now_s: f64) -> Effects {
        const DONE: f64 = 1e-6;
        let mut effects = Effects::default();
        self.flow(now_s);
        while let Some(head) = self.started.front().copied().filter(|head| head.left <= DONE) {
            self.started.pop_front();
            effects.first.push(head.id);
            let kv_tokens = head.prompt + head.output / 2.0;
            self.decoding.push(Decoding { end: self.decoded + head.output - 1.0, id: head.id, kv_tokens });
            self.output_tokens += head.output as u64;
        }
        while let Some(next) = self.decoding.peek().copied().filter(|next| next.end <= self.decoded + DONE) {
            self.decoding.pop();
            self.kv_tokens -= next.kv_tokens;
            self.requests += 1;
            effects.ended.push(next.id);
        }
        self.plan();
        effects
    }

    /// Lets time pass in which nothing starts or ends.
    fn flow(&mut self, now_s: f64) {
        let elapsed_s = (now_s - self.now_s).max(0.0);
        self.now_s = now_s.max(self.now_s);
        if self.pass.seconds <= 0.0 {
            return;
        }
        self.decoded += elapsed_s / self.pass.seconds;
        let mut tokens = elapsed_s * self.prefill_speed();
        for prompt in &mut self.started {
            let done = tokens.min(prompt.left);
            prompt.left -= done;
            tokens -= done;
        }
    }

    /// Starts what fits into the next passes, and computes how long they take.
    fn plan(&mut self) {
        let decoding = self.decoding.len() as f64;
        let room = (f64::from(self.model.pass_budget_tokens) - decoding).max(1.0);
        let mut planned: f64 = self.started.iter().map(|prompt| prompt.left).sum();
        while let Some(next) = self.waiting.front().copied() {
            let kv_tokens = next.prompt + next.output / 2.0;
            let running = self.decoding.len() + self.started.len();
            let has_room = self.kv_tokens + kv_tokens <= self.model.kv_capacity_tokens as f64
                && running < self.model.max_running as usize;
            if planned >= room || !has_room {
                break;
            }
            planned += next.left;
            self.kv_tokens += kv_tokens;
            self.started.push_back(next);
            self.waiting.pop_front();
            self.waiting_tokens -= next.prompt;
        }
        let tokens = planned.min(room);
        // On average, half of a prompt is before a token.
        let before = self.started.front().map_or(0.0, |head| head.prompt / 2.0);
        let work = PassWork {
            decoding: self.decoding.len() as u32,
            decode_context_tokens: self.kv_tokens as u64,
            prefill_tokens: tokens.ceil() as u32,
            prefill_token_pairs: (tokens * before) as u64,
            load_us: 0,
        };
        self.pass = Pass { seconds: self.model.pass_duration_us(&work) as f64 / 1e6, prefill_tokens: tokens };
        let prefill = self.started.front().map(|head| head.left / self.prefill_speed());
        let decoding =
            self.decoding.peek().map(|next| (next.end - self.decoded).max(0.0) * self.pass.seconds);
        let soonest = [prefill, decoding].into_iter().flatten().reduce(f64::min);
        self.next_s = soonest.map(|soonest| self.now_s + soonest);
    }

    fn prefill_speed(&self) -> f64 {
        self.pass.prefill_tokens.max(1.0) / self.pass.seconds
    }

    /// Returns the prompt tokens that are not processed at `now_s`.
    pub(super) fn prefill_left(&self, now_s: f64) -> f64 {
        let left = self.started.iter().map(|prompt| prompt.left).sum::<f64>() + self.waiting_tokens;
        (left - (now_s - self.now_s).max(0.0) * self.prefill_speed()).max(0.0)
    }

    /// Returns the prompt tokens of the requests without a first token.
    pub(super) fn prompt_tokens(&self) -> f64 {
        self.started.iter().map(|prompt| prompt.prompt).sum::<f64>() + self.waiting_tokens
    }

    /// Returns how many requests wait to be started.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Returns how many requests are there.
    pub(super) fn in_flight(&self) -> usize {
        self.waiting.len() + self.started.len() + self.decoding.len()
    }

    /// Returns the tokens of its KV cache that requests use.
    pub(super) fn kv_tokens(&self) -> f64 {
        self.kv_tokens
    }

    /// Returns the part of its KV cache that requests use.
    pub(super) fn kv_use(&self) -> f64 {
        self.kv_tokens / self.model.kv_capacity_tokens as f64
    }

    pub(super) fn model(&self) -> &'static ModelConfig {
        self.model
    }

    /// Returns how long a pass takes at the moment.
    pub(super) fn pass_s(&self) -> f64 {
        self.pass.seconds
    }
}

impl Eq for Decoding {}

impl Ord for Decoding {
    /// The greatest is the one that ends first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.end.total_cmp(&self.end).then(other.id.cmp(&self.id))
    }
}

impl PartialOrd for Decoding {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests;
