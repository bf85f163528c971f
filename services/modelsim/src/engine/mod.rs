//! The model server as a pure function of its inputs: `step(now, input) → effects`.
//!
//! No clock, no input or output, no randomness but the seed. Time is virtual, in microseconds since any origin; the
//! caller passes it in and asks [`Engine::next_wakeup_us`] when to come back, so a discrete-event simulation can
//! drive a thousand engines and a server can drive one in real time. A late call loses nothing: every pass that
//! ended meanwhile is carried out at the time at which it ended.

mod adapters;
mod blocks;
mod event;
mod idle_list;
mod pass;
mod request;

#[cfg(test)]
mod lora_properties;
#[cfg(test)]
mod properties;

use std::collections::{BTreeSet, VecDeque};

use crate::config::{ConfigError, ModelConfig};
use adapters::Adapters;
use blocks::BlockPool;
pub use event::{AdapterId, AdapterReading, Arrival, Effect, Input, Rejection, RequestId, Stats, Usage};
use request::Request;

/// A model server's scheduler and KV cache.
pub struct Engine {
    config: ModelConfig,
    pool: BlockPool,
    adapters: Adapters,
    /// In order of admission: the last is the youngest.
    running: Vec<Request>,
    waiting: VecDeque<Request>,
    now_us: u64,
    pass_ends_us: Option<u64>,
    /// Counters only; the gauges are filled in when read.
    totals: Stats,
}

impl Engine {
    /// An idle engine with an empty cache.
    ///
    /// # Errors
    /// When the configuration makes no sense (see [`ModelConfig::validate`]).
    pub fn new(config: ModelConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            pool: BlockPool::new(config.total_blocks()),
            config,
            adapters: Adapters::default(),
            running: Vec::new(),
            waiting: VecDeque::new(),
            now_us: 0,
            pass_ends_us: None,
            totals: Stats::default(),
        })
    }

    /// Brings the engine to `now_us`, then applies `input`. What happened is appended to `effects`, in order of
    /// time. A `now_us` before that of an earlier call counts as that earlier one.
    pub fn step(&mut self, now_us: u64, input: Input, effects: &mut Vec<Effect>) {
        self.advance(now_us, effects);
        match input {
            Input::Arrive(arrival) => self.arrive(arrival, effects),
            Input::Cancel(id) => self.cancel(id),
            Input::Tick => {}
        }
        self.begin_pass();
    }

    /// When the pass in progress ends or, between passes, the next LoRA adapter is loaded, in virtual microseconds:
    /// call [`Engine::step`] then at the latest. Nothing while idle.
    #[must_use]
    pub fn next_wakeup_us(&self) -> Option<u64> {
        self.pass_ends_us.or_else(|| self.adapters.next_ready_us(self.now_us))
    }

    /// A reading of gauges and counters.
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

    /// A reading of the LoRA adapters.
    #[must_use]
    pub fn adapters(&self) -> AdapterReading {
        let of = |requests: &mut dyn Iterator<Item = &Request>| {
            requests.filter_map(|request| request.adapter).collect::<BTreeSet<_>>().into_iter().collect()
        };
        let mut reading = AdapterReading {
            running: of(&mut self.running.iter()),
            waiting: of(&mut self.waiting.iter()),
            ..AdapterReading::default()
        };
        self.adapters.read(self.now_us, &mut reading);
        reading
    }

    fn advance(&mut self, now_us: u64, effects: &mut Vec<Effect>) {
        while let Some(at_us) = self.next_wakeup_us().filter(|&at_us| at_us <= now_us) {
            self.now_us = at_us;
            if self.pass_ends_us.take().is_some() {
                self.end_pass(effects);
            }
            self.begin_pass();
        }
        self.now_us = self.now_us.max(now_us);
    }

    fn begin_pass(&mut self) {
        if self.pass_ends_us.is_none() {
            self.pass_ends_us = self.plan_pass().map(|duration_us| self.now_us + duration_us);
        }
    }

    fn arrive(&mut self, arrival: Arrival, effects: &mut Vec<Effect>) {
        match self.config.output_target_tokens(arrival.id, arrival.prompt_tokens, arrival.max_output_tokens) {
            Ok(target_tokens) => self.waiting.push_back(Request::new(arrival, target_tokens)),
            Err(reason) => effects.push(Effect::Rejected { id: arrival.id, reason }),
        }
    }

    /// Forgets a request at once and frees its blocks. The pass in progress takes as long as it was planned to.
    fn cancel(&mut self, id: RequestId) {
        if let Some(position) = self.running.iter().position(|request| request.id == id) {
            let request = self.running.remove(position);
            self.pool.release(&request.blocks);
            self.adapters.leave(request.adapter);
        } else {
            self.waiting.retain(|request| request.id != id);
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
            adapters.leave(request.adapter);
            totals.finished += 1;
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
