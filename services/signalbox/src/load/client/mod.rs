//! Sends requests and measures their responses.

mod response;
mod sse;

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;

use super::requests::body::ResponseMode;
use super::results::statistics::{Failure, Measurement, Outcome, Usage};
use response::{Event, Text};
use sse::EventSplitter;

/// Response header with the name of the pod that answered.
const POD_HEADER: &str = "x-signalbox-pod";
/// Timeout of the request for the target's models.
const MODELS_TIMEOUT: Duration = Duration::from_secs(5);

/// A client for one target. Clones share its connections, which are kept alive between requests.
#[derive(Clone)]
pub(super) struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    /// Base URL without a trailing slash.
    base: String,
    timeout: Duration,
}

impl Client {
    /// Creates a client without connections. A request fails after `timeout`.
    pub(super) fn new(target: &Uri, timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let pool = Pool::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Self { pool, base: target.to_string().trim_end_matches('/').to_owned(), timeout }
    }

    /// Returns the first model that the target lists, if any.
    pub(super) async fn first_model(&self) -> Option<String> {
        let request = Request::get(format!("{}/v1/models", self.base)).body(Full::default()).ok()?;
        let body = async {
            let response = self.pool.request(request).await.ok()?;
            Some(response.into_body().collect().await.ok()?.to_bytes())
        };
        let body = tokio::time::timeout(MODELS_TIMEOUT, body).await.ok()??;
        response::parse_first_model(&body)
    }

    /// Sends a request and measures from `due`, when it should have been sent. So the time by which a request
    /// was delayed counts, as it would for a waiting user.
    pub(super) async fn send(
        &self,
        path: &str,
        body: Bytes,
        response_mode: ResponseMode,
        due: Instant,
    ) -> Outcome {
        tokio::time::timeout(self.timeout, self.exchange(path, body, response_mode, due))
            .await
            .unwrap_or(Err(Failure::Timeout))
    }

    async fn exchange(&self, path: &str, body: Bytes, response_mode: ResponseMode, due: Instant) -> Outcome {
        let accept = match response_mode {
            ResponseMode::Streaming => "text/event-stream",
            ResponseMode::NonStreaming => "application/json",
        };
        let request = Request::post(format!("{}{path}", self.base))
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, accept)
            .body(Full::new(body))
            .map_err(|_| Failure::Connect)?;
        let response = self
            .pool
            .request(request)
            .await
            .map_err(|error| if error.is_connect() { Failure::Connect } else { Failure::Transport })?;
        if !response.status().is_success() {
            let status = response.status().as_u16();
            // The body is read to its end so that the connection can be reused.
            let _ = response.into_body().collect().await;
            return Err(Failure::Status(status));
        }
        let pod = response
            .headers()
            .get(POD_HEADER)
            .map(|pod| String::from_utf8_lossy(pod.as_bytes()).into_owned());
        let (ttft, usage) = match response_mode {
            ResponseMode::Streaming => read_stream(response, due).await?,
            ResponseMode::NonStreaming => (None, read_body(response).await?),
        };
        Ok(Measurement { pod, ttft, latency: due.elapsed(), usage })
    }
}

async fn read_body(response: Response<Incoming>) -> Result<Option<Usage>, Failure> {
    let body = response.into_body().collect().await.map_err(|_| Failure::Transport)?.to_bytes();
    response::parse_body(&body).ok_or(Failure::InvalidResponse)
}

/// Reads a stream to its end. Returns the time from `due` to the first text, and the usage.
async fn read_stream(
    response: Response<Incoming>,
    due: Instant,
) -> Result<(Option<Duration>, Option<Usage>), Failure> {
    let mut body = response.into_body();
    let mut splitter = EventSplitter::default();
    let (mut ttft, mut usage, mut end) = (None, None, Err(Failure::Incomplete));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Failure::Transport)?;
        let Some(chunk) = frame.data_ref() else { continue };
        for data in splitter.push(chunk) {
            match response::parse_event(&data) {
                Event::Part { text, usage: reported } => {
                    if text == Text::Present {
                        ttft.get_or_insert_with(|| due.elapsed());
                    }
                    usage = reported.or(usage);
                }
                Event::Done => end = Ok(()),
                Event::Error => return Err(Failure::InStream),
                Event::Invalid => return Err(Failure::InvalidResponse),
            }
        }
    }
    end.map(|()| (ttft, usage))
}
