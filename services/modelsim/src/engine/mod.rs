//! The model server as a pure function of its inputs: `step(now, input) → effects`.
//!
//! The engine has no clock, does no IO, and has no randomness except the seed. Time is virtual, in
//! microseconds since any origin. The caller passes it in and asks [`Engine::next_wakeup_us`] when to call
//! again, so that a discrete-event simulation can drive a thousand engines and a server can drive one in real
//! time. A late call has the same effects: every pass that ended in the meantime is executed at the time at
//! which it ended.

mod adapters;
mod block_pool;
mod config;
mod event;
mod free_queue;
mod pass_plan;
mod pass_time;
mod request;
mod stats;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};

use adapters::Adapters;
use block_pool::BlockPool;
pub use config::{ConfigError, ModelConfig};
pub use event::{AdapterId, Arrival, Effect, Input, Rejection, RequestId, Usage};
pub use pass_time::PassWork;
use request::Request;
pub use stats::{AdapterStats, Stats};

/// A model server's scheduler and KV cache.
pub struct Engine {
    config: ModelConfig,
    pool: BlockPool,
    adapters: Adapters,
    /// Running requests in order of admission; the last is the youngest.
    running: Vec<Request>,
    waiting: VecDeque<Request>,
    now_us: u64,
    pass_ends_at_us: Option<u64>,
    /// Counters only; [`Engine::stats`] adds the gauges.
    totals: Stats,
}

impl Engine {
    /// Creates an idle engine with an empty cache.
    ///
    /// # Errors
    /// Fails when the configuration is invalid (see [`ModelConfig::validate`]).
    pub fn new(config: ModelConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            pool: BlockPool::new(config.total_blocks()),
            config,
            adapters: Adapters::default(),
            running: Vec::new(),
            waiting: VecDeque::new(),
            now_us: 0,
            pass_ends_at_us: None,
            totals: Stats::default(),
        })
    }

    /// Advances the engine to `now_us`, applies `input`, and appends the effects to `effects` in order of
    /// time. A `now_us` before that of an earlier call counts as that earlier one.
    pub fn step(&mut self, now_us: u64, input: Input, effects: &mut Vec<Effect>) {
        self.advance(now_us, effects);
        match input {
            Input::Arrive(arrival) => self.arrive(arrival, effects),
            Input::Cancel(id) => self.cancel(id),
            Input::Tick => {}
        }
        self.start_pass();
    }

    /// Returns the virtual time at which the current pass ends. Call [`Engine::step`] at that time at the
    /// latest. `None` while the engine is idle.
    #[must_use]
    pub fn next_wakeup_us(&self) -> Option<u64> {
        self.pass_ends_at_us
    }

    /// Returns the current gauges and counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            running: self.running.len() as u32,
            waiting: self.waiting.len() as u32,
            used_blocks: self.pool.used(),
            idle_cached_blocks: self.pool.idle_cached(),
            total_blocks: self.pool.capacity(),
            lora_disk_loads: self.adapters.disk_loads,
            lora_host_loads: self.adapters.host_loads,
            ..self.totals
        }
    }

    /// Returns the number of leading blocks of `chain` that are cached, which is what a model server's KV-cache
    /// events tell.
    #[must_use]
    pub fn cached_blocks(&self, chain: &[u64]) -> u32 {
        self.pool.cached_blocks(chain)
    }

    /// Returns the current use and residency of the LoRA adapters.
    #[must_use]
    pub fn adapters(&self) -> AdapterStats {
        let of = |requests: &mut dyn Iterator<Item = &Request>| {
            requests.filter_map(|request| request.adapter).collect::<BTreeSet<_>>().into_iter().collect()
        };
        let mut stats = AdapterStats {
            running: of(&mut self.running.iter()),
            waiting: of(&mut self.waiting.iter()),
            ..AdapterStats::default()
        };
        self.adapters.add_residency(&mut stats);
        stats
    }

    fn advance(&mut self, now_us: u64, effects: &mut Vec<Effect>) {
        while let Some(at_us) = self.next_wakeup_us().filter(|&at_us| at_us <= now_us) {
            self.now_us = at_us;
            self.pass_ends_at_us = None;
            self.end_pass(effects);
            self.start_pass();
        }
        self.now_us = self.now_us.max(now_us);
    }

    fn start_pass(&mut self) {
        if self.pass_ends_at_us.is_none() {
            self.pass_ends_at_us = self.plan_pass().map(|duration_us| self.now_us + duration_us);
        }
    }

    fn arrive(&mut self, arrival: Arrival, effects: &mut Vec<Effect>) {
        match self.config.output_target_tokens(arrival.id, arrival.prompt_tokens, arrival.max_output_tokens) {
            Ok(target_tokens) => self.waiting.push_back(Request::new(arrival, target_tokens)),
            Err(reason) => effects.push(Effect::Rejected { id: arrival.id, reason }),
        }
    }

    /// Removes a request and frees its blocks at once. The current pass still takes its planned duration.
    fn cancel(&mut self, id: RequestId) {
        if let Some(position) = self.running.iter().position(|request| request.id == id) {
            let request = self.running.remove(position);
            self.pool.release(&request.blocks);
            self.adapters.release(request.adapter);
            self.totals.cancelled += 1;
        } else if let Some(position) = self.waiting.iter().position(|request| request.id == id) {
            self.waiting.remove(position);
            self.totals.cancelled += 1;
        }
    }

    fn end_pass(&mut self, effects: &mut Vec<Effect>) {
        let Self { running, pool, adapters, totals, now_us, .. } = self;
        running.retain_mut(|request| {
            request.computed_tokens += request.scheduled_tokens;
            let was_scheduled = std::mem::take(&mut request.scheduled_tokens) > 0;
            if !was_scheduled || request.remaining_tokens() > 0 {
                return true;
            }
            produce_token(request, *now_us, totals, effects);
            if request.output_tokens < request.target_tokens {
                return true;
            }
            pool.release(&request.blocks);
            adapters.release(request.adapter);
            totals.finished += 1;
            totals.finished_at_limit += u64::from(request.is_limited);
            effects.push(Effect::Finished { id: request.id, at_us: *now_us, usage: request.usage() });
            false
        });
    }
}

fn produce_token(request: &mut Request, at_us: u64, totals: &mut Stats, effects: &mut Vec<Effect>) {
    request.output_tokens += 1;
    totals.generation_tokens += 1;
    if request.output_tokens == 1 {
        totals.prompt_tokens += u64::from(request.prompt_tokens);
        let cached_tokens = request.usage().cached_tokens;
        effects.push(Effect::FirstToken { id: request.id, at_us, cached_tokens });
    } else {
        totals.inter_token_us_sum += at_us - request.last_token_us;
        totals.inter_token_count += 1;
        effects.push(Effect::Token { id: request.id, at_us });
    }
    request.last_token_us = at_us;
}
