//! Sends requests at a constant rate, regardless of how earlier ones end, and checks every response.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::task::{JoinHandle, JoinSet};

use crate::http::{Client, MODEL, Response, Upload};

/// The time between two requests.
const REQUEST_INTERVAL: Duration = Duration::from_millis(25);

/// A request that takes longer has failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How many different prefixes the prompts have.
const PREFIXES: u64 = 12;

/// How many words the prompts with the same prefix share: some thirty blocks.
const PREFIX_WORDS: u64 = 1_500;

/// A failed request.
#[derive(Clone, Debug)]
pub struct RequestFailure {
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
        format!("after {after_s:.2} s, sent {sent_s:.2} s before: {}", self.why)
    }
}

/// The results of all requests.
#[derive(Debug, Default)]
pub struct LoadResult {
    /// The number of requests that were sent.
    pub requests: usize,
    /// Those that failed.
    pub failures: Vec<RequestFailure>,
    /// The longest time from a request to the start of its response.
    pub slowest: Duration,
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
    /// Starts sending requests to `url`.
    pub fn start(client: Client, url: &str) -> Self {
        let progress = Arc::<Progress>::default();
        let url = format!("{url}/v1/completions");
        let task = tokio::spawn(send_requests(client, url, Arc::clone(&progress)));
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

async fn send_requests(client: Client, url: String, progress: Arc<Progress>) -> LoadResult {
    let mut requests = JoinSet::new();
    let mut interval = tokio::time::interval(REQUEST_INTERVAL);
    let mut result = LoadResult::default();
    for number in 0.. {
        interval.tick().await;
        if progress.is_stopped.load(Ordering::Relaxed) {
            break;
        }
        requests.spawn(send_request(client.clone(), url.clone(), number));
        progress.sent.store(number + 1, Ordering::Relaxed);
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
    fn add(&mut self, done: Result<Duration, RequestFailure>) {
        self.requests += 1;
        match done {
            Ok(waited) => self.slowest = self.slowest.max(waited),
            Err(failure) => self.failures.push(failure),
        }
    }
}

/// The kind of response that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestKind {
    /// One short document.
    Document,
    /// A stream of half a second.
    Stream,
    /// A stream of a few seconds.
    LongStream,
}

impl RequestKind {
    /// Returns the kind of a request: half of them are documents, four of ten are streams, one of ten is a
    /// long stream.
    fn of(number: u64) -> Self {
        match number % 10 {
            0 => Self::LongStream,
            number if number % 2 == 0 => Self::Stream,
            _ => Self::Document,
        }
    }

    fn max_tokens(self) -> u64 {
        match self {
            Self::Document => 8,
            Self::Stream => 60,
            Self::LongStream => 400,
        }
    }

    fn body(self, number: u64) -> Bytes {
        let prefix: String =
            (0..PREFIX_WORDS).map(|word| format!("{:x} ", word * 31 + number % PREFIXES)).collect();
        let prompt = format!("{prefix} and this is number {number}");
        let stream = self != Self::Document;
        let body =
            json!({ "model": MODEL, "prompt": prompt, "max_tokens": self.max_tokens(), "stream": stream });
        body.to_string().into()
    }

    /// Checks that the response is complete.
    fn check(self, response: Response) -> anyhow::Result<()> {
        let response = response.ok()?;
        if self == Self::Document {
            let tokens = response.json()?["usage"]["completion_tokens"].as_u64();
            ensure!(tokens == Some(self.max_tokens()), "{tokens:?} of {} tokens", self.max_tokens());
        } else {
            response.events()?;
        }
        Ok(())
    }
}

/// Sends a request and returns the time until its response started.
async fn send_request(client: Client, url: String, number: u64) -> Result<Duration, RequestFailure> {
    let (mut response, sent) = (None, Instant::now());
    let attempt = send_and_check(&client, &url, number, &mut response);
    let result = tokio::time::timeout(REQUEST_TIMEOUT, attempt).await;
    let result =
        result.unwrap_or_else(|_| Err(anyhow::anyhow!("no end within {} s", REQUEST_TIMEOUT.as_secs())));
    let failure = |error| {
        let why = format!("{error:#}");
        RequestFailure { status: response.map(|(status, _)| status), sent, at: Instant::now(), why }
    };
    result.map_err(failure)?;
    Ok(response.map_or(Duration::ZERO, |(_, at)| at - sent))
}

async fn send_and_check(
    client: &Client,
    url: &str,
    number: u64,
    started: &mut Option<(StatusCode, Instant)>,
) -> anyhow::Result<()> {
    let kind = RequestKind::of(number);
    let response = client.send_streaming(Method::POST, url, kind.body(number), Upload::Whole).await?;
    *started = Some((response.status(), Instant::now()));
    let (parts, body) = response.into_parts();
    let body = body.collect().await.context("the response is cut off")?.to_bytes();
    kind.check(Response { status: parts.status, headers: parts.headers, body })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::RequestKind;
    use crate::http::Response;

    fn response(body: &'static str) -> Response {
        Response { status: StatusCode::OK, headers: HeaderMap::new(), body: body.into() }
    }

    #[test]
    fn incomplete_responses_are_detected() {
        assert!(RequestKind::Stream.check(response("data: {}\n\ndata: [DONE]\n\n")).is_ok());
        assert!(RequestKind::Stream.check(response("data: {}\n\n")).is_err());
        assert!(RequestKind::Document.check(response(r#"{"usage":{"completion_tokens":8}}"#)).is_ok());
        assert!(RequestKind::Document.check(response(r#"{"usage":{"completion_tokens":7}}"#)).is_err());
        let refused = Response { status: StatusCode::SERVICE_UNAVAILABLE, ..response("") };
        assert!(RequestKind::Document.check(refused).is_err());
    }

    #[test]
    fn prompts_with_the_same_prefix_differ_only_at_the_end() {
        let text = |number| String::from_utf8(RequestKind::Document.body(number).to_vec()).unwrap();
        let common = |one: &str, other: &str| {
            one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count()
        };
        assert!(common(&text(1), &text(13)) > 6_000);
        assert!(common(&text(1), &text(3)) < 100);
    }
}
