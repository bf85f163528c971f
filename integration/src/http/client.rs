//! Sends HTTP requests like a client of the gateway.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::http::MetricsPage;

/// The time limit of a request.
const PATIENCE: Duration = Duration::from_secs(120);

/// The length of a chunk of an upload in chunks.
pub const UPLOAD_CHUNK_BYTES: usize = 10_000;

/// The name of the trailer.
const TRAILER: &str = "x-end";

type Body = BoxBody<Bytes, Infallible>;

/// How the body of a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upload {
    /// With a content length.
    Whole,
    /// In chunks, without a content length.
    Chunked,
    /// In chunks, with trailers after the last one.
    Trailers,
    /// The first chunk only; the rest never arrives.
    Stalling,
    /// No byte of the body ever arrives.
    HeadersOnly,
}

/// A complete response.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// An HTTP client with a connection pool.
#[derive(Clone, Debug)]
pub struct Client {
    pool: Pool<HttpConnector, Body>,
}

impl Client {
    /// Creates a client without connections.
    #[expect(clippy::new_without_default, reason = "a client has no meaningful default value")]
    pub fn new() -> Self {
        Self { pool: Pool::builder(TokioExecutor::new()).build_http() }
    }

    /// Sends a request to `url` and reads the whole response.
    ///
    /// # Errors
    /// Fails when the connection breaks or the response takes too long.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        body: Bytes,
        upload: Upload,
    ) -> anyhow::Result<Response> {
        self.send_with(method, url, &[], (body, upload)).await
    }

    /// Like [`Client::send`], with additional headers. Without a `content-type`, the body is JSON.
    ///
    /// # Errors
    /// Fails like [`Client::send`].
    pub async fn send_with(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        sent: (Bytes, Upload),
    ) -> anyhow::Result<Response> {
        let response = self.send_streaming_with(method, url, headers, sent).await?;
        let (parts, body) = response.into_parts();
        let read = tokio::time::timeout(PATIENCE, body.collect()).await;
        let body = read.context("the response does not end")?.context("the response is cut off")?.to_bytes();
        Ok(Response { status: parts.status, headers: parts.headers, body })
    }

    /// Sends a request to `url` and returns the response with its body unread.
    ///
    /// # Errors
    /// Fails when the connection breaks or no response arrives in time.
    pub async fn send_streaming(
        &self,
        method: Method,
        url: &str,
        body: Bytes,
        upload: Upload,
    ) -> anyhow::Result<http::Response<Incoming>> {
        self.send_streaming_with(method, url, &[], (body, upload)).await
    }

    /// Like [`Client::send_streaming`], with additional headers.
    ///
    /// # Errors
    /// Fails like [`Client::send_streaming`].
    pub async fn send_streaming_with(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        (body, upload): (Bytes, Upload),
    ) -> anyhow::Result<http::Response<Incoming>> {
        let body = match upload {
            Upload::Whole => Full::new(body).boxed(),
            Upload::Chunked => streamed(stream::iter(chunks(&body))),
            Upload::Trailers => streamed(stream::iter(chunks(&body).into_iter().chain([trailers()]))),
            Upload::HeadersOnly => streamed(stream::pending()),
            Upload::Stalling => {
                streamed(stream::iter(chunks(&body).into_iter().take(1)).chain(stream::pending()))
            }
        };
        let mut request = Request::builder().method(method).uri(url);
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        if upload == Upload::Trailers {
            request = request.header("trailer", TRAILER);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let sent = tokio::time::timeout(PATIENCE, self.pool.request(request.body(body)?)).await;
        sent.with_context(|| format!("{url} does not respond"))?
            .with_context(|| format!("cannot send a request to {url}"))
    }

    /// Sends a GET request.
    ///
    /// # Errors
    /// Fails like [`Client::send`].
    pub async fn get(&self, url: &str) -> anyhow::Result<Response> {
        self.send(Method::GET, url, Bytes::new(), Upload::Whole).await
    }

    /// Sends a POST request.
    ///
    /// # Errors
    /// Fails like [`Client::send`].
    pub async fn post(&self, url: &str, body: impl Into<Bytes>) -> anyhow::Result<Response> {
        self.send(Method::POST, url, body.into(), Upload::Whole).await
    }

    /// Reads the metrics page at `address`.
    ///
    /// # Errors
    /// Fails like [`Client::send`], and when the status is not 200.
    pub async fn metrics(&self, address: &str) -> anyhow::Result<MetricsPage> {
        Ok(MetricsPage::new(self.get(&format!("http://{address}/metrics")).await?.ok()?.text()?.to_owned()))
    }
}

fn streamed(frames: impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + Sync + 'static) -> Body {
    BodyExt::boxed(StreamBody::new(frames))
}

fn chunks(body: &Bytes) -> Vec<Result<Frame<Bytes>, Infallible>> {
    let cuts = (0..body.len()).step_by(UPLOAD_CHUNK_BYTES);
    let chunks = cuts.map(|from| body.slice(from..body.len().min(from + UPLOAD_CHUNK_BYTES)));
    chunks.map(|chunk| Ok(Frame::data(chunk))).collect()
}

fn trailers() -> Result<Frame<Bytes>, Infallible> {
    let value = HeaderValue::from_static("here");
    Ok(Frame::trailers([(HeaderName::from_static(TRAILER), value)].into_iter().collect()))
}

impl Response {
    /// Returns the response itself if its status is 200.
    ///
    /// # Errors
    /// Fails with the status and the body otherwise.
    pub fn ok(self) -> anyhow::Result<Self> {
        anyhow::ensure!(
            self.status == StatusCode::OK,
            "{}: {}",
            self.status,
            String::from_utf8_lossy(&self.body)
        );
        Ok(self)
    }

    /// Returns the value of a header.
    ///
    /// # Errors
    /// Fails when there is no such header.
    pub fn header(&self, name: &str) -> anyhow::Result<&str> {
        let value = self.headers.get(name).with_context(|| format!("the response has no header {name}"))?;
        Ok(value.to_str()?)
    }

    /// Returns the body as text.
    ///
    /// # Errors
    /// Fails when it is not UTF-8.
    pub fn text(&self) -> anyhow::Result<&str> {
        Ok(std::str::from_utf8(&self.body)?)
    }

    /// Parses the body as JSON.
    ///
    /// # Errors
    /// Fails when it is not JSON.
    pub fn json(&self) -> anyhow::Result<Value> {
        Ok(serde_json::from_slice(&self.body)?)
    }

    /// Parses the server-sent events of the body as JSON, without the final `[DONE]`.
    ///
    /// # Errors
    /// Fails when an event is malformed or `[DONE]` is missing.
    pub fn events(&self) -> anyhow::Result<Vec<Value>> {
        let text = self.text()?.strip_suffix("data: [DONE]\n\n").context("the event stream is cut off")?;
        let events = text.split_terminator("\n\n");
        events
            .map(|event| {
                Ok(serde_json::from_str(event.strip_prefix("data: ").context("an event without data")?)?)
            })
            .collect()
    }

    /// Returns the name of the pod that served the request.
    ///
    /// # Errors
    /// Fails when no pod served it.
    pub fn pod(&self) -> anyhow::Result<&str> {
        self.header("x-signalbox-pod")
    }
}
