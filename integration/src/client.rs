//! HTTP as a client sees it.

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

use crate::metrics::Page;

/// Beyond it a request hangs.
const PATIENCE: Duration = Duration::from_secs(120);

const UPLOAD_CHUNK_BYTES: usize = 10_000;

/// The name of the one that is sent.
const TRAILER: &str = "x-end";

type Body = BoxBody<Bytes, Infallible>;

/// How a request's body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upload {
    /// With a content length.
    Whole,
    /// In chunks, their number unknown beforehand.
    Chunked,
    /// The same, with trailers after the last.
    Trailers,
    /// The first chunk, of more that never come.
    Stalling,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// All of its body.
    pub body: Bytes,
}

/// A client with a pool of connections.
#[derive(Clone, Debug)]
pub struct Client {
    pool: Pool<HttpConnector, Body>,
}

impl Client {
    /// A client without connections yet.
    #[expect(clippy::new_without_default, reason = "there is no default way to reach a server")]
    pub fn new() -> Self {
        Self { pool: Pool::builder(TokioExecutor::new()).build_http() }
    }

    /// Sends a request to `url` and reads the answer to its end.
    ///
    /// # Errors
    /// When the connection breaks or nothing comes.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        body: Bytes,
        upload: Upload,
    ) -> anyhow::Result<Answer> {
        self.send_with(method, url, &[], (body, upload)).await
    }

    /// As [`Client::send`], with more headers.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn send_with(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        sent: (Bytes, Upload),
    ) -> anyhow::Result<Answer> {
        let response = self.begin_with(method, url, headers, sent).await?;
        let (parts, body) = response.into_parts();
        let read = tokio::time::timeout(PATIENCE, body.collect()).await;
        let body = read.context("the answer does not end")?.context("the answer breaks off")?.to_bytes();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }

    /// Sends a request to `url`; the answer's body is left to be read.
    ///
    /// # Errors
    /// When the connection breaks or nothing comes.
    pub async fn begin(
        &self,
        method: Method,
        url: &str,
        body: Bytes,
        upload: Upload,
    ) -> anyhow::Result<http::Response<Incoming>> {
        self.begin_with(method, url, &[], (body, upload)).await
    }

    /// As [`Client::begin`], with more headers.
    ///
    /// # Errors
    /// As [`Client::begin`].
    pub async fn begin_with(
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
            Upload::Stalling => {
                streamed(stream::iter(chunks(&body).into_iter().take(1)).chain(stream::pending()))
            }
        };
        let mut request =
            Request::builder().method(method).uri(url).header("content-type", "application/json");
        if upload == Upload::Trailers {
            request = request.header("trailer", TRAILER);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let sent = tokio::time::timeout(PATIENCE, self.pool.request(request.body(body)?)).await;
        sent.with_context(|| format!("{url} does not answer"))?
            .with_context(|| format!("{url} cannot be asked"))
    }

    /// A GET.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn get(&self, url: &str) -> anyhow::Result<Answer> {
        self.send(Method::GET, url, Bytes::new(), Upload::Whole).await
    }

    /// A POST.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn post(&self, url: &str, body: impl Into<Bytes>) -> anyhow::Result<Answer> {
        self.send(Method::POST, url, body.into(), Upload::Whole).await
    }

    /// The metrics at `address`.
    ///
    /// # Errors
    /// As [`Client::send`], and when the answer is no page.
    pub async fn metrics(&self, address: &str) -> anyhow::Result<Page> {
        Ok(Page::new(self.get(&format!("http://{address}/metrics")).await?.ok()?.text()?.to_owned()))
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

impl Answer {
    /// Itself, when its status is 200.
    ///
    /// # Errors
    /// Its status and body, otherwise.
    pub fn ok(self) -> anyhow::Result<Self> {
        anyhow::ensure!(
            self.status == StatusCode::OK,
            "{}: {}",
            self.status,
            String::from_utf8_lossy(&self.body)
        );
        Ok(self)
    }

    /// A header's value.
    ///
    /// # Errors
    /// When there is none.
    pub fn header(&self, name: &str) -> anyhow::Result<&str> {
        let value = self.headers.get(name).with_context(|| format!("the answer has no header {name}"))?;
        Ok(value.to_str()?)
    }

    /// Its body as text.
    ///
    /// # Errors
    /// When it is not UTF-8.
    pub fn text(&self) -> anyhow::Result<&str> {
        Ok(std::str::from_utf8(&self.body)?)
    }

    /// Its body as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> anyhow::Result<Value> {
        Ok(serde_json::from_slice(&self.body)?)
    }

    /// The events of a stream but for the last, `[DONE]`, as JSON.
    ///
    /// # Errors
    /// When the body is no such stream or was cut.
    pub fn events(&self) -> anyhow::Result<Vec<Value>> {
        let text = self.text()?.strip_suffix("data: [DONE]\n\n").context("the stream of events was cut")?;
        let events = text.split_terminator("\n\n");
        events
            .map(|event| Ok(serde_json::from_str(event.strip_prefix("data: ").context("no event")?)?))
            .collect()
    }

    /// The pod that served it.
    ///
    /// # Errors
    /// When none did.
    pub fn pod(&self) -> anyhow::Result<&str> {
        self.header("x-signalbox-pod")
    }
}
