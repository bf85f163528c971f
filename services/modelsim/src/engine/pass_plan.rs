//! Plans one pass in the order of vLLM's scheduler (v1): running requests first, then admissions.
//!
//! Simplifications compared with vLLM: a request gets the blocks of its whole prompt on admission (vLLM
//! allocates chunk by chunk), and blocks of output tokens are not cached for reuse.

use super::Engine;
use super::adapters::AdapterStatus;
use super::block_pool::BlockPool;
use super::request::{Request, Work};

/// The work of one pass.
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

    /// Schedules the request's next chunk within the budget and caches the blocks that it fills. As in vLLM
    /// that happens during planning, so that a request planned later in the same pass already hits them.
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
        while request.cached_blocks < full_blocks.min(request.chain.len()) {
            let next = request.cached_blocks;
            pool.cache(request.blocks[next], request.chain[next]);
            request.cached_blocks += 1;
        }
    }
}

/// Whether planning preempted a running request.
#[derive(PartialEq, Eq)]
enum Preemption {
    None,
    Happened,
}

impl Engine {
    /// Plans the next pass; returns its duration, or `None` when there is no work.
    pub(super) fn plan_pass(&mut self) -> Option<u64> {
        let mut plan = Plan { budget_left_tokens: self.config.pass_budget_tokens, ..Plan::default() };
        // A request that was just preempted must not get its blocks back in the same pass.
        if self.schedule_running(&mut plan) == Preemption::None {
            self.admit_waiting(&mut plan);
        }
        (!plan.is_empty()).then(|| self.config.pass_duration_us(plan.decoding, plan.prefill_tokens))
    }

    fn schedule_running(&mut self, plan: &mut Plan) -> Preemption {
        let mut preemption = Preemption::None;
        let mut position = 0;
        while position < self.running.len() && plan.budget_left_tokens > 0 {
            if self.grow(position) {
                plan.schedule(&mut self.running[position], &mut self.pool, self.config.block_size_tokens);
                position += 1;
            } else {
                // The youngest request is preempted, even if it is the one that needs the block.
                self.preempt_youngest();
                preemption = Preemption::Happened;
            }
        }
        preemption
    }

    /// Allocates blocks for the request's next output token; returns whether there were enough. The prompt
    /// got its blocks on admission.
    fn grow(&mut self, position: usize) -> bool {
        let request = &mut self.running[position];
        let needed = request.known_tokens().div_ceil(self.config.block_size_tokens) as usize;
        while request.blocks.len() < needed {
            match self.pool.allocate_one() {
                Some(block) => request.blocks.push(block),
                None => return false,
            }
        }
        true
    }

    /// Moves the youngest running request back to the head of the queue; it will be computed again from the
    /// start.
    fn preempt_youngest(&mut self) {
        let Some(mut youngest) = self.running.pop() else { return };
        self.pool.release(&youngest.blocks);
        self.adapters.release(youngest.adapter);
        youngest.blocks.clear();
        youngest.cached_blocks = 0;
        youngest.computed_tokens = 0;
        youngest.scheduled_tokens = 0;
        self.totals.preemptions += 1;
        self.waiting.push_front(youngest);
    }

    /// Admits requests from the head of the queue while budget, batch size and blocks permit. Skips requests
    /// whose adapter is not loaded, but never a request that waits for blocks.
    fn admit_waiting(&mut self, plan: &mut Plan) {
        let block_size_tokens = self.config.block_size_tokens;
        let mut position = 0;
        while plan.budget_left_tokens > 0 && self.running.len() < self.config.max_running as usize {
            let Some(next) = self.waiting.get(position) else { return };
            let adapter_status =
                next.adapter.map(|adapter| self.adapters.require(adapter, self.now_us, &self.config));
            if adapter_status == Some(AdapterStatus::Waiting) {
                position += 1;
                continue;
            }
            let needed_blocks = next.known_tokens().div_ceil(block_size_tokens);
            let Some(allocation) = self.pool.allocate(next.reusable_chain(block_size_tokens), needed_blocks)
            else {
                return;
            };
            let mut request = self.waiting.remove(position).expect("the position was checked above");
            self.adapters.acquire(request.adapter);
            request.blocks = allocation.blocks;
            request.cached_blocks = allocation.cached as usize;
            request.computed_tokens = allocation.cached * block_size_tokens;
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
