//! Planning one pass, in the order of vLLM's scheduler (v1): running requests first, then admissions.
//!
//! Differences from vLLM, for simplicity: a request is given the blocks of its whole prompt when it is admitted
//! (vLLM allocates chunk by chunk), and blocks of produced tokens are not offered for reuse.

use super::Engine;
use super::adapters::Standing;
use super::blocks::BlockPool;
use super::request::{Request, Work};

/// What a planned pass consists of.
#[derive(Default)]
pub(super) struct Plan {
    budget_left_tokens: u32,
    decoding: u32,
    prefill_tokens: u32,
}

impl Plan {
    fn is_empty(&self) -> bool {
        self.decoding == 0 && self.prefill_tokens == 0
    }

    /// Takes the request's next chunk out of the budget, marks it, and offers the blocks it fills for reuse. As in
    /// vLLM that happens at planning time: a request planned later in the same pass already hits them.
    fn schedule(&mut self, request: &mut Request, pool: &mut BlockPool, block_size_tokens: u32) {
        let work = request.work();
        let chunk_tokens = request.remaining_tokens().min(self.budget_left_tokens);
        request.scheduled_tokens = chunk_tokens;
        self.budget_left_tokens -= chunk_tokens;
        match work {
            Work::Decode => self.decoding += 1,
            Work::Prefill => self.prefill_tokens += chunk_tokens,
        }
        let full_blocks = ((request.computed_tokens + chunk_tokens) / block_size_tokens) as usize;
        while request.published_blocks < full_blocks.min(request.chain.len()) {
            let next = request.published_blocks;
            pool.publish(request.blocks[next], request.chain[next]);
            request.published_blocks += 1;
        }
    }
}

/// What became of the running requests while planning.
#[derive(PartialEq, Eq)]
enum Fit {
    All,
    Preempted,
}

impl Engine {
    /// Plans the next pass; returns how long it takes, or nothing when there is nothing to do.
    pub(super) fn plan_pass(&mut self) -> Option<u64> {
        let mut plan = Plan { budget_left_tokens: self.config.pass_budget_tokens, ..Plan::default() };
        // A request that just lost its blocks must not get them back in the same pass.
        if self.schedule_running(&mut plan) == Fit::All {
            self.admit_waiting(&mut plan);
        }
        (!plan.is_empty()).then(|| self.config.pass_duration_us(plan.decoding, plan.prefill_tokens))
    }

    fn schedule_running(&mut self, plan: &mut Plan) -> Fit {
        let mut fit = Fit::All;
        let mut position = 0;
        while position < self.running.len() && plan.budget_left_tokens > 0 {
            if self.grow(position) {
                plan.schedule(&mut self.running[position], &mut self.pool, self.config.block_size_tokens);
                position += 1;
            } else {
                // The youngest gives way, if need be the one that asked.
                self.preempt_youngest();
                fit = Fit::Preempted;
            }
        }
        fit
    }

    /// Makes room for the request's next output token. Its prompt has all its blocks since admission.
    fn grow(&mut self, position: usize) -> bool {
        let request = &mut self.running[position];
        let needed = request.known_tokens().div_ceil(self.config.block_size_tokens) as usize;
        while request.blocks.len() < needed {
            match self.pool.take_one() {
                Some(block) => request.blocks.push(block),
                None => return false,
            }
        }
        true
    }

    /// Sends the youngest running request back to the head of the queue, to compute everything again.
    fn preempt_youngest(&mut self) {
        let Some(mut youngest) = self.running.pop() else { return };
        self.pool.release(&youngest.blocks);
        self.adapters.leave(youngest.adapter);
        youngest.blocks.clear();
        youngest.published_blocks = 0;
        youngest.computed_tokens = 0;
        youngest.scheduled_tokens = 0;
        self.totals.preemptions += 1;
        self.waiting.push_front(youngest);
    }

    /// Admits from the head of the queue while budget, batch and blocks allow: past those whose adapter is not there,
    /// never past one that waits for blocks.
    fn admit_waiting(&mut self, plan: &mut Plan) {
        let block_size_tokens = self.config.block_size_tokens;
        let mut position = 0;
        while plan.budget_left_tokens > 0 && self.running.len() < self.config.max_running as usize {
            let Some(next) = self.waiting.get(position) else { return };
            let standing =
                next.adapter.map(|adapter| self.adapters.stand(adapter, self.now_us, &self.config));
            if standing == Some(Standing::Waits) {
                position += 1;
                continue;
            }
            let needed_blocks = next.known_tokens().div_ceil(block_size_tokens);
            let Some(granted) = self.pool.grant(next.reusable_chain(block_size_tokens), needed_blocks) else {
                return;
            };
            let mut request = self.waiting.remove(position).expect("it was just looked at");
            self.adapters.enter(request.adapter);
            request.blocks = granted.blocks;
            request.published_blocks = granted.cached as usize;
            request.computed_tokens = granted.cached * block_size_tokens;
            if request.cached_tokens.is_none() {
                request.cached_tokens = Some(request.computed_tokens);
                self.totals.prefix_queries_tokens += u64::from(request.prompt_tokens);
                self.totals.prefix_hits_tokens += u64::from(request.computed_tokens);
            }
            plan.schedule(&mut request, &mut self.pool, block_size_tokens);
            self.running.push(request);
        }
    }
}
