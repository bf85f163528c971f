//! How full a pool is: its saturation.

/// How a pool's saturation is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Detector {
    /// By room: how much of the work that an endpoint does in `hold_ms` it has already, or has no room for in its KV cache.
    Wait {
        /// The wait at which an endpoint is full, in milliseconds.
        hold_ms: u64,
    },
    /// The Go EPP's `utilization-detector`: by waiting requests and KV cache use, whichever is higher, as the mean over
    /// the endpoints.
    Utilization {
        /// Waiting requests at which an endpoint is full.
        queue_depth: f64,
        /// KV cache use at which an endpoint is full, from 0 to 1.
        kv_use: f64,
    },
    /// The Go EPP's `concurrency-detector` in the modes `requests`, `tokens` and `hybrid`: by what is in flight. A limit
    /// that is `None` does not count.
    Concurrency {
        /// Requests in flight at which an endpoint is full.
        requests: Option<f64>,
        /// Tokens in flight at which an endpoint is full.
        tokens: Option<f64>,
    },
}

// None of the numbers is NaN: that is no limit.
impl Eq for Detector {}

/// The default `hold_ms`: an engine that starts a pass with at least 100 ms of work loses less than 1 % to the fixed
/// time of a pass (about 1 ms), and stays busy over our round trip of 5 to 10 ms.
const HOLD_MS: u64 = 100;

impl Default for Detector {
    fn default() -> Self {
        Self::Wait { hold_ms: HOLD_MS }
    }
}

/// How current the values of an endpoint are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// They are current, or count for as long as the endpoint is given to answer again.
    Current,
    /// Nothing is known, or only what is too old.
    Unknown,
}

/// What a detector reads of one endpoint. Bookings are those of all replicas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EndpointUse {
    /// How current the scraped values are: `waiting` and `kv_use`.
    pub freshness: Freshness,
    /// Waiting requests by the endpoint's metrics.
    pub waiting: u32,
    /// KV cache use by the endpoint's metrics, from 0 to 1.
    pub kv_use: f64,
    /// Booked requests.
    pub requests: u64,
    /// Uncached tokens of the booked prompts that are not processed yet, less the estimated progress on the current one.
    pub tokens: u64,
    /// For how long a prompt waits there besides, in milliseconds, by the endpoint's metrics: for prompts that no replica has
    /// booked.
    pub other_wait_ms: u64,
    /// Tokens for which the KV cache has room, besides those of running requests and of the booked prompts that are not
    /// processed yet; `None` if that is not known.
    pub free_kv_tokens: Option<u64>,
    /// Prefill rate.
    pub tokens_per_second: u64,
}

impl EndpointUse {
    /// Returns how full the endpoint is: which part of its room for prompts is taken, from 0 to 1.
    pub fn fill(&self, hold_ms: u64) -> f64 {
        self.taken_tokens(hold_ms) / self.room_tokens(hold_ms)
    }

    /// Returns whether its KV cache has room for all that it is believed to process within `hold_ms`, as far as is known.
    pub fn has_kv_room(&self, hold_ms: u64) -> bool {
        self.free_kv_tokens.is_none_or(|free| free as f64 >= self.room_tokens(hold_ms))
    }

    /// Returns its room for prompts, in tokens: as much work as keeps it busy for `hold_ms`.
    fn room_tokens(&self, hold_ms: u64) -> f64 {
        (self.tokens_per_second as f64 * hold_ms as f64 / 1e3).max(1.0)
    }

    /// Returns how much of its room is taken: by prompts that are not processed yet, and by running requests if the KV cache has
    /// less room than that. What it has beyond its room does not count.
    fn taken_tokens(&self, hold_ms: u64) -> f64 {
        let room = self.room_tokens(hold_ms);
        let free_kv = self.free_kv_tokens.map_or(room, |tokens| tokens as f64);
        self.prompt_tokens(hold_ms).max(room - free_kv.clamp(0.0, room))
    }

    /// Returns how much of its room is taken by prompts that are not processed yet.
    fn prompt_tokens(&self, hold_ms: u64) -> f64 {
        let other_tokens = self.tokens_per_second as f64 * self.other_wait_ms as f64 / 1e3;
        (self.tokens as f64 + other_tokens).min(self.room_tokens(hold_ms))
    }
}

/// A pool's saturation, and what each granted request adds to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Saturation {
    /// 0 for idle, 1 for full; can be more.
    pub value: f64,
    /// The part of it that is due to prompts that are not processed yet: its value if nothing else filled the pool.
    pub by_prompts: f64,
    /// What one more request adds.
    pub per_request: f64,
    /// What each of its tokens adds.
    pub per_token: f64,
    /// The most that one request adds: a long prompt fills one endpoint, not several.
    pub per_request_limit: f64,
}

impl Saturation {
    /// Returns what one more request with `tokens` tokens adds.
    pub fn added_by(&self, tokens: u64) -> f64 {
        (self.per_request + tokens as f64 * self.per_token).min(self.per_request_limit)
    }
}

impl Detector {
    /// Returns the saturation of a pool; `None` if it has no endpoints.
    ///
    /// An endpoint whose values are unknown is neither full nor idle: it does not count. If that is true of all, their
    /// booked load counts.
    pub fn assess(&self, endpoints: &[EndpointUse]) -> Option<Saturation> {
        if endpoints.is_empty() {
            return None;
        }
        let is_known = |of: &&EndpointUse| of.freshness == Freshness::Current;
        let known: Vec<_> = endpoints.iter().filter(is_known).collect();
        match (self, known.is_empty()) {
            (Self::Wait { hold_ms }, false) => Some(by_wait(&known, *hold_ms)),
            (Self::Wait { hold_ms }, true) => Some(by_wait(&endpoints.iter().collect::<Vec<_>>(), *hold_ms)),
            (Self::Utilization { queue_depth, kv_use }, false) => {
                Some(by_utilization(&known, *queue_depth, *kv_use))
            }
            (Self::Utilization { .. }, true) => Some(by_wait(&endpoints.iter().collect::<Vec<_>>(), HOLD_MS)),
            // Bookings are known without the endpoints' metrics.
            (Self::Concurrency { requests, tokens }, _) => {
                Some(by_concurrency(endpoints, requests.map(at_least_one), tokens.map(at_least_one)))
            }
        }
    }
}

fn at_least_one(limit: f64) -> f64 {
    limit.max(1.0)
}

/// Returns which part of the room for prompts of all endpoints is taken. What one endpoint has beyond its room does not fill
/// another one. So while requests may use some endpoints only (subsets, filters), the others are idle in this
/// measure, and more is granted than those endpoints have room for.
fn by_wait(endpoints: &[&EndpointUse], hold_ms: u64) -> Saturation {
    let whole: f64 = endpoints.iter().map(|of| of.room_tokens(hold_ms)).sum();
    let used: f64 = endpoints.iter().map(|of| of.taken_tokens(hold_ms)).sum();
    let prompts: f64 = endpoints.iter().map(|of| of.prompt_tokens(hold_ms)).sum();
    Saturation {
        value: used / whole,
        by_prompts: prompts / whole,
        per_request: 0.0,
        per_token: 1.0 / whole,
        per_request_limit: 1.0 / endpoints.len() as f64,
    }
}

/// Returns the mean over the endpoints of the higher of two ratios. A granted request waits at first, wherever it goes.
fn by_utilization(endpoints: &[&EndpointUse], queue_depth: f64, kv_use: f64) -> Saturation {
    let (queue_depth, kv_use) = (at_least_one(queue_depth), kv_use.max(0.01));
    let queue = |of: &&EndpointUse| f64::from(of.waiting) / queue_depth;
    let score = |of: &&EndpointUse| queue(of).max(of.kv_use / kv_use);
    let count = endpoints.len() as f64;
    Saturation {
        value: endpoints.iter().map(score).sum::<f64>() / count,
        by_prompts: endpoints.iter().map(queue).sum::<f64>() / count,
        per_request: 1.0 / (queue_depth * count),
        per_token: 0.0,
        per_request_limit: f64::INFINITY,
    }
}

fn by_concurrency(endpoints: &[EndpointUse], requests: Option<f64>, tokens: Option<f64>) -> Saturation {
    let count = endpoints.len() as f64;
    let ratio = |value: u64, limit: Option<f64>| limit.map_or(0.0, |limit| value as f64 / limit);
    let score = |of: &EndpointUse| ratio(of.requests, requests).max(ratio(of.tokens, tokens));
    let adds = |limit: Option<f64>| limit.map_or(0.0, |limit| 1.0 / (limit * count));
    Saturation {
        value: endpoints.iter().map(score).sum::<f64>() / count,
        by_prompts: endpoints.iter().map(|of| ratio(of.tokens, tokens)).sum::<f64>() / count,
        per_request: adds(requests),
        per_token: adds(tokens),
        per_request_limit: f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(tokens: u64) -> EndpointUse {
        EndpointUse {
            freshness: Freshness::Current,
            waiting: 0,
            kv_use: 0.0,
            requests: 0,
            tokens,
            other_wait_ms: 0,
            free_kv_tokens: None,
            tokens_per_second: 10_000,
        }
    }

    #[test]
    fn pool_is_full_when_its_endpoints_have_work_for_the_hold_time() {
        let of = |tokens: [u64; 2]| Detector::Wait { hold_ms: 100 }.assess(&tokens.map(endpoint));
        let saturation = of([500, 1_500]).expect("there are endpoints");
        // What one endpoint has beyond 1,000 tokens does not fill the other one.
        assert_eq!(0.75, saturation.value);
        assert_eq!((0.25, 0.5), (saturation.added_by(500), saturation.added_by(50_000)));
        assert_eq!(Some(1.0), of([1_000, 1_000]).map(|of| of.value));
    }

    #[test]
    fn endpoint_is_full_whatever_a_prompt_would_wait_for() {
        let waits = |tokens, other_wait_ms| EndpointUse { other_wait_ms, ..endpoint(tokens) };
        let of = |endpoint| Detector::Wait { hold_ms: 100 }.assess(&[endpoint]).map(|of| of.value);
        assert_eq!((Some(0.5), Some(1.0)), (of(waits(0, 50)), of(waits(0, 100))));
        assert_eq!((Some(0.75), Some(1.0)), (of(waits(250, 50)), of(waits(750, 50))));
    }

    /// Otherwise prompts wait in the engine until running requests end, behind which a more important one waits, too.
    #[test]
    fn endpoint_without_room_in_its_kv_cache_is_full() {
        let of = |tokens, free| EndpointUse { free_kv_tokens: Some(free), ..endpoint(tokens) }.fill(100);
        assert_eq!([1.0, 0.75, 0.0], [0, 250, 50_000].map(|free| of(0, free)));
        assert_eq!([0.5, 0.9], [50_000, 100].map(|free| of(500, free)));
        let full = EndpointUse { free_kv_tokens: Some(0), ..endpoint(0) };
        let pool = Detector::Wait { hold_ms: 100 }.assess(&[full, endpoint(500)]);
        assert_eq!(Some((0.75, 0.25)), pool.map(|of| (of.value, of.by_prompts)));
    }

    #[test]
    fn utilization_is_the_mean_of_the_higher_ratio() {
        let busy = EndpointUse { waiting: 10, kv_use: 0.4, ..endpoint(0) };
        let cached = EndpointUse { waiting: 0, kv_use: 0.8, ..endpoint(0) };
        let detector = Detector::Utilization { queue_depth: 5.0, kv_use: 0.8 };
        let saturation = detector.assess(&[busy, cached]).expect("there are endpoints");
        assert_eq!((1.5, 0.1), (saturation.value, saturation.per_request));
    }

    #[test]
    fn concurrency_counts_what_all_replicas_booked() {
        let endpoints =
            [EndpointUse { requests: 30, ..endpoint(100) }, EndpointUse { requests: 10, ..endpoint(700) }];
        let detector = Detector::Concurrency { requests: Some(100.0), tokens: Some(1_000.0) };
        assert_eq!(Some(0.5), detector.assess(&endpoints).map(|of| of.value));
    }

    #[test]
    fn unknown_endpoint_is_neither_full_nor_idle() {
        let lost = EndpointUse { freshness: Freshness::Unknown, waiting: 1_000, ..endpoint(0) };
        let busy = EndpointUse { waiting: 5, ..endpoint(1_000) };
        let detector = Detector::Utilization { queue_depth: 5.0, kv_use: 0.8 };
        assert_eq!(Some(1.0), detector.assess(&[busy, lost]).map(|of| of.value));
        // Of endpoints that are all unknown, what was booked counts.
        assert_eq!(Some(0.0), detector.assess(&[lost]).map(|of| of.value));
        assert_eq!(None, detector.assess(&[]));
    }
}
