//! Sends requests and measures their responses.

mod connector;
mod models;
mod response;

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;

pub(crate) use self::connector::{Connector, Trust, connector};
use super::requests::body::ResponseMode;
use super::results::outcome::{Failure, Measurement, Outcome};

/// Response headers that name the endpoint that answered: of Signalbox's simulated model servers, of llm-d's, and of gateways
/// that tell the address, as the embedded one does.
const ENDPOINT_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("x-signalbox-pod"),
    HeaderName::from_static("x-inference-pod"),
    HeaderName::from_static("x-gateway-destination-endpoint-served"),
];
/// Response header that says why the picker refused a request.
const DROPPED_REASON: &str = "x-llm-d-request-dropped-reason";
/// Timeout of the request for the target's models.
const MODELS_TIMEOUT: Duration = Duration::from_secs(5);

/// What all requests of a run have in common.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Base URL.
    pub(crate) url: Uri,
    /// Headers of each request; `content-type` and `accept` have defaults.
    pub(crate) headers: HeaderMap,
    /// Response header that names the endpoint, instead of those that are known.
    pub(crate) endpoint_header: Option<HeaderName>,
    pub(crate) timeout: Duration,
}

/// What one request is.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) path: &'static str,
    /// Headers of this request only.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Bytes,
    pub(crate) response_mode: ResponseMode,
}

/// A client for one target. Clones share its connections, which are kept alive between requests.
#[derive(Clone)]
pub(crate) struct Client {
    pool: Pool<Connector, Full<Bytes>>,
    /// Base URL without a trailing slash.
    base: String,
    target: Target,
}

impl Client {
    /// Creates a client without connections.
    pub(crate) fn new(target: Target, connector: Connector) -> Self {
        let pool = Pool::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Self { pool, base: target.url.to_string().trim_end_matches('/').to_owned(), target }
    }

    /// Returns the first model that the target lists, if any.
    pub(crate) async fn first_model(&self) -> Option<String> {
        let mut request = Request::get(format!("{}/v1/models", self.base)).body(Full::default()).ok()?;
        *request.headers_mut() = self.target.headers.clone();
        let body = async {
            let response = self.pool.request(request).await.ok()?;
            Some(response.into_body().collect().await.ok()?.to_bytes())
        };
        let body = tokio::time::timeout(MODELS_TIMEOUT, body).await.ok()??;
        models::first(&body)
    }

    /// Sends a request and measures from `due`, when it should have been sent. So the time by which a request
    /// was delayed counts, as it would for a waiting user.
    pub(crate) async fn send(&self, call: Call, due: Instant) -> Outcome {
        tokio::time::timeout(self.target.timeout, self.exchange(call, due))
            .await
            .unwrap_or(Err(Failure::Timeout))
    }

    async fn exchange(&self, call: Call, due: Instant) -> Outcome {
        let response_mode = call.response_mode;
        let request = self.request(call).map_err(|_| Failure::Connect)?;
        let response = self
            .pool
            .request(request)
            .await
            .map_err(|error| if error.is_connect() { Failure::Connect } else { Failure::Transport })?;
        if !response.status().is_success() {
            return Err(refused(response).await);
        }
        let endpoint = self.endpoint(response.headers());
        let measurement = match response_mode {
            ResponseMode::Streaming => response::read_stream(response, due).await?,
            ResponseMode::NonStreaming => response::read_document(response).await?,
        };
        Ok(Measurement { endpoint, latency: due.elapsed(), ..measurement })
    }

    fn request(&self, call: Call) -> http::Result<Request<Full<Bytes>>> {
        let Call { path, headers, body, response_mode } = call;
        let accept = match response_mode {
            ResponseMode::Streaming => "text/event-stream",
            ResponseMode::NonStreaming => "application/json",
        };
        let mut request = Request::post(format!("{}{path}", self.base)).body(Full::new(body))?;
        *request.headers_mut() = self.target.headers.clone();
        let of_request = request.headers_mut();
        of_request.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        of_request.entry(ACCEPT).or_insert(HeaderValue::from_static(accept));
        for (name, value) in headers {
            of_request.insert(name, value);
        }
        Ok(request)
    }

    /// Returns the endpoint that a response names.
    fn endpoint(&self, headers: &HeaderMap) -> Option<String> {
        let names = match &self.target.endpoint_header {
            Some(name) => std::slice::from_ref(name),
            None => &ENDPOINT_HEADERS,
        };
        let named = names.iter().find_map(|name| headers.get(name));
        named.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    }
}

/// Returns why a response whose status is no success failed.
async fn refused(response: Response<Incoming>) -> Failure {
    let code = response.status();
    let reason = response.headers().get(DROPPED_REASON);
    let reason = reason.map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned());
    // The body is read to its end so that the connection can be reused.
    let _ = response.into_body().collect().await;
    Failure::Status { code: StatusCode::as_u16(&code), reason }
}
