//! Corrects the speed that is assumed of endpoints while no response tells that of any of them: prompts are short, or responses come
//! in one piece or without usage.
//!
//! Flow control lets through what endpoints are believed to process, and a prompt whose response comes in one piece counts as
//! processed after the time that it should take. So with a speed that is too low, endpoints idle while requests wait for them.

use signalbox_flow::{Detector, EndpointUse};
use signalbox_types::{Load, Rates};

use super::Pool;
use crate::pool_state::{Change, FlowChange, FlowMeasures, ScrapeStatus, UNBOOKED_PROMPT_TOKENS};

/// The time in which an assumed speed doubles, in milliseconds, until it was too high for the first time: several scrapes, so that
/// the engine's page shows in time whether prompts wait there now. And from then on: near the right one.
const FIRST_DOUBLING_MS: f64 = 250.0;
const DOUBLING_MS: f64 = 2_000.0;

/// The longest time between two corrections that counts, in milliseconds.
const MAX_STEP_MS: u64 = 250;

/// The time after a fall in which there is no other, in milliseconds: what waits at the endpoint then has to be processed first.
const PAUSE_MS: u64 = 1_000;

/// The most prompts that wait at an endpoint behind the next one, however short they are believed to take.
const MAX_BEHIND: u32 = 8;

/// The greatest factor: from 8,000 tokens per second to 256,000, more than an endpoint processes.
const MAX_FACTOR: f64 = 32.0;

/// By which factor endpoints are assumed to be faster than was believed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct AssumedSpeed {
    /// At least 1.
    factor: f64,
    /// When it was too high last, in milliseconds.
    fell_at_ms: Option<u64>,
}

impl Default for AssumedSpeed {
    fn default() -> Self {
        Self { factor: 1.0, fell_at_ms: None }
    }
}

/// What the page of an endpoint says of its speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queue {
    /// No prompt waits there, and its KV cache has room.
    Empty,
    /// What waits there behind the next prompt, which keeps the engine busy, would take it longer than the hold, or is more than
    /// a few prompts.
    Long,
}

impl AssumedSpeed {
    /// Returns the speed at `now_ms`, after `step_ms` milliseconds with this queue. `requests_wait` says whether requests wait for
    /// a grant.
    fn after(self, (now_ms, step_ms): (u64, u64), queue: Queue, requests_wait: bool) -> Self {
        let Self { factor, fell_at_ms } = self;
        match queue {
            Queue::Empty if requests_wait => {
                let doubling_ms = if fell_at_ms.is_some() { DOUBLING_MS } else { FIRST_DOUBLING_MS };
                Self { factor: (factor * (step_ms as f64 / doubling_ms).exp2()).min(MAX_FACTOR), ..self }
            }
            Queue::Long if factor > 1.0 && fell_at_ms.is_none_or(|at_ms| now_ms >= at_ms + PAUSE_MS) => {
                Self { factor: (factor / 2.0).max(1.0), fell_at_ms: Some(now_ms) }
            }
            Queue::Empty | Queue::Long => self,
        }
    }
}

/// The speed that is assumed of all endpoints of a pool, and when it was corrected last.
#[derive(Debug, Default)]
pub(super) struct Corrections {
    speed: AssumedSpeed,
    last_ms: u64,
}

impl Corrections {
    /// Goes on from what an earlier owner has published.
    pub(super) fn inherited(measures: FlowMeasures) -> Self {
        let factor = (f64::from(measures.assumed_speed_milli) / 1e3).clamp(1.0, MAX_FACTOR);
        Self { speed: AssumedSpeed { factor, ..AssumedSpeed::default() }, last_ms: 0 }
    }

    /// Returns the factor in thousandths, as it is published.
    fn factor_milli(&self) -> u64 {
        (self.speed.factor * 1e3) as u64
    }

    /// Returns `rates` with the factor.
    pub(super) fn corrected(&self, rates: Rates) -> Rates {
        with_prefill(rates, u64::from(rates.prefill_tokens_per_second) * self.factor_milli() / 1_000)
    }

    /// Returns `rates`, which have the factor, without it.
    pub(super) fn uncorrected(&self, rates: Rates) -> Rates {
        with_prefill(rates, u64::from(rates.prefill_tokens_per_second) * 1_000 / self.factor_milli())
    }
}

fn with_prefill(rates: Rates, tokens_per_second: u64) -> Rates {
    Rates { prefill_tokens_per_second: u32::try_from(tokens_per_second).unwrap_or(u32::MAX).max(1), ..rates }
}

impl Pool {
    /// Corrects the speed that is assumed of all endpoints, if it decides how full the pool is and no response has told that of any
    /// of them. It is the same for all: otherwise, one of them would attract the requests of the others. `requests_wait` says
    /// whether requests wait for a grant.
    pub(super) fn correct_assumed_speed(&mut self, now_ms: u64, requests_wait: bool) {
        let step_ms = now_ms.saturating_sub(self.corrections.last_ms).min(MAX_STEP_MS);
        self.corrections.last_ms = now_ms;
        let Detector::Wait { hold_ms } = self.pool_state.flows().settings().detector else { return };
        let before = self.corrections.speed;
        if !requests_wait && before.factor <= 1.0 {
            return;
        }
        let after = match self.assessors.values().any(|assessor| assessor.knows_prefill()) {
            true => AssumedSpeed::default(),
            false => match self.most_queues(now_ms, hold_ms) {
                Some(queue) => before.after((now_ms, step_ms), queue, requests_wait),
                None => before,
            },
        };
        if after != before {
            self.corrections.speed = after;
            self.touch_all();
            self.publish_assumed_speed();
        }
    }

    /// Another owner goes on from the published rates, and has to know what is in them.
    fn publish_assumed_speed(&mut self) {
        let before = self.pool_state.flows().measures();
        let assumed_speed_milli = match u32::try_from(self.corrections.factor_milli()) {
            Ok(milli) if milli > 1_000 => milli,
            _ => 0,
        };
        if assumed_speed_milli != before.assumed_speed_milli {
            let measures = FlowMeasures { assumed_speed_milli, ..before };
            self.commit(Change::Flow(FlowChange::Measured(measures)));
        }
    }

    /// Returns what the pages of at least half of the endpoints say that get requests and whose page is known; `None` if
    /// those do not agree.
    fn most_queues(&self, now_ms: u64, hold_ms: u64) -> Option<Queue> {
        let serving = self.pool_state.endpoints().filter(|of| !of.spec.is_draining && of.is_serving());
        let fresh = serving.filter(|of| of.observed.scrape_status == ScrapeStatus::Fresh);
        let queues: Vec<_> = fresh
            .map(|of| {
                let load = self.pool_state.loads().total(of.key);
                queue(&self.endpoint_use(of, now_ms), load, hold_ms)
            })
            .collect();
        let is_most = |queue: &Queue| {
            2 * queues.iter().filter(|of| **of == Some(*queue)).count() >= queues.len().max(1)
        };
        [Queue::Long, Queue::Empty].into_iter().find(is_most)
    }
}

/// Returns the queue of an endpoint with this load; `None` if it is as it should be, or nothing waits there because nothing fits
/// into its KV cache.
fn queue(of: &EndpointUse, load: Load, hold_ms: u64) -> Option<Queue> {
    if of.waiting == 0 {
        return of.has_kv_room(hold_ms).then_some(Queue::Empty);
    }
    let mean_tokens = match load.prefills {
        0 => UNBOOKED_PROMPT_TOKENS,
        prefills => load.prefill_tokens / u64::from(prefills),
    };
    let hold_tokens = of.tokens_per_second.saturating_mul(hold_ms) / 1_000;
    let behind = of.waiting - 1;
    (behind > MAX_BEHIND || u64::from(behind).saturating_mul(mean_tokens) > hold_tokens)
        .then_some(Queue::Long)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_without_a_queue_is_faster_than_assumed_only_if_requests_wait() {
        let after = |factor, requests_wait| {
            let speed = AssumedSpeed { factor, ..AssumedSpeed::default() };
            speed.after((0, 250), Queue::Empty, requests_wait).factor
        };
        assert_eq!([2.0, 1.0], [true, false].map(|requests_wait| after(1.0, requests_wait)));
        assert_eq!(MAX_FACTOR, after(MAX_FACTOR, true));
    }

    /// Otherwise it falls far below the right one while the queue is worked off.
    #[test]
    fn long_queue_halves_the_speed_once_a_second_and_down_to_what_was_believed() {
        let mut speed = AssumedSpeed { factor: 8.0, ..AssumedSpeed::default() };
        let factors = [5_000, 5_100, 5_900, 6_000, 7_000, 8_000].map(|now_ms| {
            speed = speed.after((now_ms, 100), Queue::Long, true);
            speed.factor
        });
        assert_eq!([4.0, 4.0, 4.0, 2.0, 1.0, 1.0], factors);
    }

    #[test]
    fn speed_that_was_too_high_once_rises_slowly() {
        let speed = AssumedSpeed { factor: 2.0, fell_at_ms: Some(0) };
        let after = (0..20).fold(speed, |speed, step| speed.after((step * 100, 100), Queue::Empty, true));
        assert!((after.factor - 4.0).abs() < 1e-9, "{after:?}");
    }
}
