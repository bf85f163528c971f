//! Sends one request and measures its answer.

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

use super::answer::{self, Content, Event, Usage};
use super::args::Delivery;
use super::sse::EventSplitter;
use super::tally::{Failure, Measured, Outcome};

/// The response header that names the pod that answered.
const POD: &str = "x-signalbox-pod";
/// How long a target has to name its models.
const MODELS_PATIENCE: Duration = Duration::from_secs(5);

/// Connections to one target, kept alive between requests. Clones share them.
#[derive(Clone)]
pub(super) struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    /// Without the slash at the end.
    base: String,
    timeout: Duration,
}

impl Client {
    /// A client without any connection yet. A request is given up after `timeout`.
    pub(super) fn new(target: &Uri, timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let pool = Pool::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Self { pool, base: target.to_string().trim_end_matches('/').to_owned(), timeout }
    }

    /// The first model that the target offers; none if it does not say.
    pub(super) async fn first_model(&self) -> Option<String> {
        let request = Request::get(format!("{}/v1/models", self.base)).body(Full::default()).ok()?;
        let body = async {
            let response = self.pool.request(request).await.ok()?;
            Some(response.into_body().collect().await.ok()?.to_bytes())
        };
        let body = tokio::time::timeout(MODELS_PATIENCE, body).await.ok()??;
        answer::first_model(&body)
    }

    /// Sends a request that was due at `due` and measures from then, so that the time a request was held back
    /// counts as the time of a user who waits.
    pub(super) async fn send(&self, path: &str, body: Bytes, delivery: Delivery, due: Instant) -> Outcome {
        tokio::time::timeout(self.timeout, self.exchange(path, body, delivery, due))
            .await
            .unwrap_or(Err(Failure::Timeout))
    }

    async fn exchange(&self, path: &str, body: Bytes, delivery: Delivery, due: Instant) -> Outcome {
        let accept = match delivery {
            Delivery::Streamed => "text/event-stream",
            Delivery::Whole => "application/json",
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
            // Read to its end, so that the connection can be used again.
            let _ = response.into_body().collect().await;
            return Err(Failure::Status(status));
        }
        let pod = response.headers().get(POD).map(|pod| String::from_utf8_lossy(pod.as_bytes()).into_owned());
        let (ttft, usage) = match delivery {
            Delivery::Streamed => read_stream(response, due).await?,
            Delivery::Whole => (None, read_whole(response).await?),
        };
        Ok(Measured { pod, ttft, latency: due.elapsed(), usage })
    }
}

async fn read_whole(response: Response<Incoming>) -> Result<Option<Usage>, Failure> {
    let body = response.into_body().collect().await.map_err(|_| Failure::Transport)?.to_bytes();
    answer::whole(&body).ok_or(Failure::Illegible)
}

/// Reads a stream to its end: when its first text came after `due`, and its usage.
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
            match answer::event(&data) {
                Event::Part { content, usage: told } => {
                    if content == Content::Some {
                        ttft.get_or_insert_with(|| due.elapsed());
                    }
                    usage = told.or(usage);
                }
                Event::Done => end = Ok(()),
                Event::Failed => return Err(Failure::InStream),
                Event::Illegible => return Err(Failure::Illegible),
            }
        }
    }
    end.map(|()| (ttft, usage))
}
