//! Plans one pass in the order of vLLM's scheduler (V1): running requests first, then admissions.

use super::Engine;
use super::block_pool::{Allocation, BlockPool};
use super::pass_time::PassWork;
use super::request::{Request, Work};

/// The plan of one pass.
#[derive(Default)]
struct Plan {
    budget_left_tokens: u32,
    work: PassWork,
}

impl Plan {
    /// Schedules the request's next `chunk_tokens` and caches the blocks that they fill. As in vLLM that
    /// happens during planning, so that a request planned later in the same pass already hits them.
    fn schedule(
        &mut self,
        request: &mut Request,
        chunk_tokens: u32,
        pool: &mut BlockPool,
        block_size_tokens: u32,
    ) {
        let (context, chunk) = (u64::from(request.computed_tokens), u64::from(chunk_tokens));
        match request.work() {
            Work::Decode => {
                self.work.decoding += 1;
                self.work.decode_context_tokens += context;
            }
            Work::Prefill => {
                self.work.prefill_tokens += chunk_tokens;
                // Each token attends to what precedes it.
                self.work.prefill_token_pairs += chunk * context + chunk * chunk / 2;
            }
        }
        request.scheduled_tokens = chunk_tokens;
        self.budget_left_tokens -= chunk_tokens;
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
        (!plan.work.is_empty()).then(|| self.config.pass_duration_us(&plan.work))
    }

    fn schedule_running(&mut self, plan: &mut Plan) -> Preemption {
        let mut preemption = Preemption::None;
        let mut position = 0;
        while position < self.running.len() && plan.budget_left_tokens > 0 {
            let remaining_tokens = self.running[position].remaining_tokens();
            let chunk_tokens = self.config.chunk_tokens(remaining_tokens, plan.budget_left_tokens);
            if self.grow(position, chunk_tokens) {
                let request = &mut self.running[position];
                plan.schedule(request, chunk_tokens, &mut self.pool, self.config.block_size_tokens);
                position += 1;
            } else {
                // The youngest request is preempted, even if it is the one that needs the block.
                self.preempt_youngest();
                preemption = Preemption::Happened;
            }
        }
        preemption
    }

    /// Allocates the blocks for the request's next `chunk_tokens`; returns whether there were enough.
    fn grow(&mut self, position: usize, chunk_tokens: u32) -> bool {
        let request = &mut self.running[position];
        let needed =
            (request.computed_tokens + chunk_tokens).div_ceil(self.config.block_size_tokens) as usize;
        while request.blocks.len() < needed {
            match self.pool.allocate() {
                Some(block) => request.blocks.push(block),
                None => return false,
            }
        }
        true
    }

    /// Moves the youngest running request back to the head of the queue. It is computed again from the start,
    /// except for those of its blocks that are still cached when it is admitted again.
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
    /// whose adapter finds no slot, but never a request that waits for blocks.
    fn admit_waiting(&mut self, plan: &mut Plan) {
        let mut position = 0;
        while plan.budget_left_tokens > 0 && self.running.len() < self.config.max_running as usize {
            let Some(next) = self.waiting.get(position) else { return };
            if next.adapter.is_some_and(|adapter| !self.adapters.has_slot_for(adapter, &self.config)) {
                position += 1;
                continue;
            }
            let Some(mut request) = self.admit(position, plan.budget_left_tokens) else { return };
            if let Some(adapter) = request.adapter {
                plan.work.load_us += self.adapters.acquire(adapter, &self.config);
            }
            let chunk_tokens = self.config.chunk_tokens(request.remaining_tokens(), plan.budget_left_tokens);
            plan.schedule(&mut request, chunk_tokens, &mut self.pool, self.config.block_size_tokens);
            self.running.push(request);
        }
    }

    /// Takes a request out of the queue and gives it the blocks for its first chunk. Returns `None` and changes
    /// nothing unless all that it knows so far, prompt and earlier output, fits into the free blocks: vLLM
    /// reserves nothing for it, but does not begin what would certainly be preempted.
    fn admit(&mut self, position: usize, budget_left_tokens: u32) -> Option<Request> {
        let block_size_tokens = self.config.block_size_tokens;
        let next = &self.waiting[position];
        let reusable = next.reusable_chain(block_size_tokens);
        let cached = self.pool.cached_blocks(reusable);
        let computed_tokens = cached * block_size_tokens;
        let chunk_tokens =
            self.config.chunk_tokens(next.known_tokens() - computed_tokens, budget_left_tokens);
        let now = (computed_tokens + chunk_tokens).div_ceil(block_size_tokens);
        let eventually = next.known_tokens().div_ceil(block_size_tokens);
        let Allocation { blocks, cached } = self.pool.admit(reusable, cached, now, eventually)?;
        let mut request = self.waiting.remove(position)?;
        request.blocks = blocks;
        request.cached_blocks = cached as usize;
        request.computed_tokens = computed_tokens;
        if request.cached_tokens.is_none() {
            request.cached_tokens = Some(computed_tokens);
            self.totals.prefix_queries_tokens += u64::from(request.prompt_tokens);
            self.totals.prefix_hits_tokens += u64::from(computed_tokens);
        }
        Some(request)
    }
}
