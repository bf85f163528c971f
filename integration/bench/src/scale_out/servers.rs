//! The model servers as collectors see them.

use signalbox_state::{EndpointObserver, ScrapeResult, Update};
use signalbox_types::{Capacity, Counters, Gauges, Sample, Work};

use super::shape::{BLOCK_TOKENS, KV_BLOCKS, KV_TOKENS, SCRAPED_MS};

/// Interval at which an endpoint is scraped, in milliseconds: the collectors' default.
const SCRAPE_MS: u64 = 50;

/// Time per output token of a running request, in microseconds.
const TOKEN_US: u64 = 25_000;

/// After how long without a successful scrape an endpoint is stale, in milliseconds. It does not happen.
const STALE_AFTER_MS: u64 = 2_000;

/// One model server, and what its collector reported of it.
struct Server {
    observer: EndpointObserver,
    waiting: u32,
    running: u32,
    /// Blocks of the prompts of its requests.
    blocks: u64,
    counters: Counters,
    work: Work,
}

/// All model servers, in the order of the endpoints' keys.
pub(super) struct Servers(Vec<Server>);

impl Servers {
    pub(super) fn new(endpoints: usize) -> Self {
        let server = |_| Server {
            observer: EndpointObserver::new(SCRAPED_MS, STALE_AFTER_MS),
            waiting: 0,
            running: 0,
            blocks: 0,
            counters: Counters::default(),
            work: Work::default(),
        };
        Self((0..endpoints).map(server).collect())
    }

    /// Sends a request with a prompt of so many blocks to the server at `position`. Returns whether it is the only one
    /// that waits there.
    pub(super) fn receive(&mut self, position: usize, blocks: usize) -> bool {
        let server = &mut self.0[position];
        server.waiting += 1;
        server.blocks += blocks as u64;
        server.waiting == 1
    }

    /// Lets a request produce its first output.
    pub(super) fn begin_output(&mut self, position: usize) {
        let server = &mut self.0[position];
        (server.waiting, server.running) = (server.waiting - 1, server.running + 1);
    }

    /// Ends a request.
    pub(super) fn end(&mut self, position: usize, blocks: usize) {
        let server = &mut self.0[position];
        server.running -= 1;
        server.blocks -= blocks as u64;
        server.work.requests += 1;
        server.work.prompt_tokens += blocks as u64 * BLOCK_TOKENS;
    }

    /// Scrapes the servers whose turn it is at `now_ms`; returns the positions of those of which there is something to
    /// report.
    pub(super) fn scrape(&mut self, now_ms: u64) -> impl Iterator<Item = (usize, Update)> {
        let first = (SCRAPE_MS - now_ms % SCRAPE_MS) % SCRAPE_MS;
        let scraped = self.0.iter_mut().enumerate().skip(first as usize).step_by(SCRAPE_MS as usize);
        scraped.filter_map(move |(position, server)| Some((position, server.scrape(now_ms)?)))
    }

    /// Scrapes all servers for the first time.
    pub(super) fn scrape_all(&mut self) -> impl Iterator<Item = (usize, Update)> {
        let all = self.0.iter_mut().enumerate();
        all.filter_map(|(position, server)| Some((position, server.scrape(SCRAPED_MS)?)))
    }
}

impl Server {
    fn scrape(&mut self, now_ms: u64) -> Option<Update> {
        let tokens = u64::from(self.running) * SCRAPE_MS * 1_000 / TOKEN_US;
        self.counters.inter_token_count += tokens;
        self.counters.inter_token_us_sum += tokens * TOKEN_US;
        self.counters.generation_tokens += tokens;
        self.work.output_tokens += tokens;
        let kv_used_ppm = (self.blocks * 1_000_000 / KV_BLOCKS).min(1_000_000) as u32;
        let sample = Sample {
            gauges: Gauges {
                waiting: self.waiting,
                running: Some(self.running),
                kv_used_ppm: Some(kv_used_ppm),
            },
            capacity: Some(Capacity { kv_tokens: KV_TOKENS }),
            counters: Some(self.counters),
            work: self.work,
            ..Sample::default()
        };
        self.observer.observe(now_ms, ScrapeResult::Sampled(sample))
    }
}
