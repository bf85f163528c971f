//! Sends requests at a constant rate, regardless of how earlier ones end, and checks every response.

mod request_kind;
mod tier;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use tokio::task::{JoinHandle, JoinSet};

use self::request_kind::RequestKind;
pub use self::tier::{TIER_OBJECTIVES, Tier};

use crate::http::{Client, Response, Upload};

/// The time between two requests.
const REQUEST_INTERVAL: Duration = Duration::from_millis(25);

/// A request that takes longer has failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The header that says why a request was refused.
const REASON: &str = "x-llm-d-request-dropped-reason";

/// A failed request.
#[derive(Clone, Debug)]
pub struct RequestFailure {
    /// The tier of the request, if it has one.
    pub tier: Option<Tier>,
    /// The status of the response; `None` when no response had started.
    pub status: Option<StatusCode>,
    /// When the request was sent.
    pub sent: Instant,
    /// When it failed.
    pub at: Instant,
    /// What went wrong.
    pub why: String,
}

impl RequestFailure {
    /// Returns whether a response with status 200 had started. After that, a gateway cannot retry the request.
    pub fn had_response(&self) -> bool {
        self.status == Some(StatusCode::OK)
    }

    /// Describes when and why the request failed. `started` is the start of the fault.
    pub fn describe(&self, started: Instant) -> String {
        let after_s = self.at.saturating_duration_since(started).as_secs_f64();
        let sent_s = self.at.duration_since(self.sent).as_secs_f64();
        let tier = self.tier.map(|tier| format!("{tier}, ")).unwrap_or_default();
        format!("{tier}after {after_s:.2} s, sent {sent_s:.2} s before: {}", self.why)
    }
}

/// The results of all requests.
#[derive(Debug, Default)]
pub struct LoadResult {
    /// The number of requests that were sent.
    pub requests: usize,
    /// Those that failed.
    pub failures: Vec<RequestFailure>,
    /// How many sheddable requests were refused, by the reason that they were told.
    pub shed: BTreeMap<String, usize>,
    /// The longest time from a request to the start of its response.
    pub slowest: Duration,
}

/// How a request ended that did not fail.
#[derive(Debug)]
enum Ended {
    /// It was served. Its response started after this time.
    Served(Duration),
    /// It was refused, as sheddable requests may be, for this reason.
    Shed(String),
}

/// Load that runs until it is stopped.
#[derive(Debug)]
pub struct Load {
    progress: Arc<Progress>,
    task: JoinHandle<LoadResult>,
}

#[derive(Debug, Default)]
struct Progress {
    /// How many requests were sent.
    sent: AtomicU64,
    is_stopped: AtomicBool,
}

impl Load {
    /// Starts sending requests to `url`, all alike.
    pub fn start(client: Client, url: &str) -> Self {
        Self::start_with(client, url, 0, |_| None)
    }

    /// Starts sending requests to `url` in tiers, of which the endpoints file must have the [`TIER_OBJECTIVES`]. `first` is the
    /// number of the first request: prompts of other numbers than before are not cached.
    pub fn start_in_tiers(client: Client, url: &str, first: u64) -> Self {
        Self::start_with(client, url, first, |number| Some(Tier::of(number)))
    }

    fn start_with(client: Client, url: &str, first: u64, tier_of: fn(u64) -> Option<Tier>) -> Self {
        let progress = Arc::<Progress>::default();
        let url = format!("{url}/v1/completions");
        let task = tokio::spawn(send_requests(client, url, (first, tier_of), Arc::clone(&progress)));
        Self { progress, task }
    }

    /// Returns how many requests were sent so far.
    pub fn sent(&self) -> u64 {
        self.progress.sent.load(Ordering::Relaxed)
    }

    /// Stops sending requests and waits for those in flight.
    ///
    /// # Errors
    /// Fails when the load generator panicked.
    pub async fn stop(mut self) -> anyhow::Result<LoadResult> {
        self.progress.is_stopped.store(true, Ordering::Relaxed);
        (&mut self.task).await.context("the load generator failed")
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn send_requests(
    client: Client,
    url: String,
    (first, tier_of): (u64, fn(u64) -> Option<Tier>),
    progress: Arc<Progress>,
) -> LoadResult {
    let mut requests = JoinSet::new();
    let mut interval = tokio::time::interval(REQUEST_INTERVAL);
    let mut result = LoadResult::default();
    for number in first.. {
        interval.tick().await;
        if progress.is_stopped.load(Ordering::Relaxed) {
            break;
        }
        requests.spawn(send_request(client.clone(), url.clone(), (number, tier_of(number))));
        progress.sent.store(number - first + 1, Ordering::Relaxed);
        while let Some(Ok(done)) = requests.try_join_next() {
            result.add(done);
        }
    }
    for done in requests.join_all().await {
        result.add(done);
    }
    result
}

impl LoadResult {
    fn add(&mut self, done: Result<Ended, RequestFailure>) {
        self.requests += 1;
        match done {
            Ok(Ended::Served(waited)) => self.slowest = self.slowest.max(waited),
            Ok(Ended::Shed(reason)) => *self.shed.entry(reason).or_default() += 1,
            Err(failure) => self.failures.push(failure),
        }
    }
}

/// Sends a request and returns how it ended.
async fn send_request(
    client: Client,
    url: String,
    (number, tier): (u64, Option<Tier>),
) -> Result<Ended, RequestFailure> {
    let (mut response, sent) = (None, Instant::now());
    let attempt = send_and_check(&client, &url, (number, tier), &mut response);
    let result = tokio::time::timeout(REQUEST_TIMEOUT, attempt).await;
    let result =
        result.unwrap_or_else(|_| Err(anyhow::anyhow!("no end within {} s", REQUEST_TIMEOUT.as_secs())));
    let failure = |error| {
        let why = format!("{error:#}");
        RequestFailure { tier, status: response.map(|(status, _)| status), sent, at: Instant::now(), why }
    };
    match result.map_err(failure)? {
        Some(reason) => Ok(Ended::Shed(reason)),
        None => Ok(Ended::Served(response.map_or(Duration::ZERO, |(_, at)| at - sent))),
    }
}

/// Sends a request and checks its response. Returns why it was refused, if it may be.
async fn send_and_check(
    client: &Client,
    url: &str,
    (number, tier): (u64, Option<Tier>),
    started: &mut Option<(StatusCode, Instant)>,
) -> anyhow::Result<Option<String>> {
    let kind = RequestKind::of(number);
    let objective = tier.map(|tier| ("x-llm-d-inference-objective", tier.objective()));
    let upload = (kind.body(number, tier), Upload::Whole);
    let response = client.send_streaming_with(Method::POST, url, objective.as_slice(), upload).await?;
    *started = Some((response.status(), Instant::now()));
    let (parts, body) = response.into_parts();
    let body = body.collect().await.context("the response is cut off")?.to_bytes();
    let response = Response { status: parts.status, headers: parts.headers, body };
    if tier == Some(Tier::Sheddable) && response.status == StatusCode::TOO_MANY_REQUESTS {
        return Ok(Some(response.header(REASON).context("shed without a reason")?.to_owned()));
    }
    kind.check(response)?;
    Ok(None)
}
