//! Fetches the metrics page of one endpoint with HTTP/1.1 on a persistent connection, with or without TLS.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use signalbox_dialect::metrics::{self, PageError};
use signalbox_state::ScrapeResult;
use signalbox_tls::{PageTls, PageTlsError};
use signalbox_types::{Engine, MetricsTls, Sample};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::target::Target;
use crate::config::ScrapeConfig;

/// Why a page could not be fetched or parsed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("connection refused")]
    Refused,
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error(transparent)]
    Tls(#[from] PageTlsError),
    #[error("no response within {}", humantime::format_duration(*.0))]
    NoResponse(Duration),
    #[error("the connection broke: {0}")]
    Broken(hyper::Error),
    #[error("the response is not HTTP: {0}")]
    NotHttp(hyper::Error),
    #[error("the response status is {0}")]
    Status(StatusCode),
    #[error("the page is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the page was incomplete after {}", humantime::format_duration(*.0))]
    Incomplete(Duration),
    #[error(transparent)]
    Page(#[from] PageError),
    #[error("{0}")]
    Target(Arc<str>),
}

impl FetchError {
    /// Returns what this error means for the endpoint's scrape status.
    pub(crate) fn scrape_result(&self) -> ScrapeResult {
        match self {
            Self::Refused => ScrapeResult::Refused,
            Self::Connect(_) | Self::NoResponse(_) | Self::Broken(_) => ScrapeResult::NoResponse,
            Self::Tls(error) if error.is_transient() => ScrapeResult::NoResponse,
            Self::Tls(_)
            | Self::NotHttp(_)
            | Self::Status(_)
            | Self::TooLarge(_)
            | Self::Incomplete(_)
            | Self::Page(_)
            | Self::Target(_) => ScrapeResult::Unusable,
        }
    }

    fn from_exchange(error: hyper::Error) -> Self {
        if error.is_parse() { Self::NotHttp(error) } else { Self::Broken(error) }
    }
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    _driver: AbortOnDropHandle<()>,
}

/// Fetches the page of one target repeatedly.
#[derive(Debug)]
pub(crate) struct PageFetcher {
    target: Result<Target, Arc<str>>,
    limits: ScrapeConfig,
    page_tls: Arc<PageTls>,
    connection: Option<Connection>,
    page: Vec<u8>,
}

impl PageFetcher {
    /// Creates a fetcher without connecting. `metrics_tls` matters if `url` is an `https` URL. An invalid URL makes
    /// every fetch fail.
    pub(crate) fn new(
        url: &str,
        metrics_tls: MetricsTls,
        limits: ScrapeConfig,
        page_tls: Arc<PageTls>,
    ) -> Self {
        let target = Target::parse(url, metrics_tls).map_err(Arc::from);
        Self { target, limits, page_tls, connection: None, page: Vec::new() }
    }

    /// Fetches the page, which [`Self::sample`] then parses.
    pub(crate) async fn fetch(&mut self) -> Result<(), FetchError> {
        let fetched = self.exchange().await;
        if fetched.is_err() {
            self.connection = None;
            self.page = Vec::new();
        }
        fetched
    }

    /// Parses the page that was fetched last.
    pub(crate) fn sample(&self, engine: Engine) -> Result<Sample, FetchError> {
        Ok(metrics::parse(engine, &self.page)?)
    }

    async fn exchange(&mut self) -> Result<(), FetchError> {
        let timeout = self.limits.timeout;
        let deadline = Instant::now() + timeout;
        let response =
            timeout_at(deadline, self.request()).await.unwrap_or(Err(FetchError::NoResponse(timeout)))?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let body_read = timeout_at(deadline, self.read_body(response)).await;
        body_read.unwrap_or(Err(FetchError::Incomplete(timeout)))
    }

    /// Sends the request on the open connection, or on a new one if there is none or the server closed it in
    /// the meantime.
    async fn request(&mut self) -> Result<Response<Incoming>, FetchError> {
        let target = self.target.as_ref().map_err(|error| FetchError::Target(error.clone()))?;
        if let Some(open) = &mut self.connection {
            match open.request(target).await {
                Err(error) if !error.is_parse() => {}
                outcome => return outcome.map_err(FetchError::from_exchange),
            }
        }
        let connection = self.connection.insert(Connection::open(target, &self.page_tls).await?);
        connection.request(target).await.map_err(FetchError::from_exchange)
    }

    async fn read_body(&mut self, response: Response<Incoming>) -> Result<(), FetchError> {
        let limit = self.limits.max_page_bytes;
        let mut body = response.into_body();
        if body.size_hint().lower() > limit as u64 {
            return Err(FetchError::TooLarge(limit));
        }
        self.page.clear();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(FetchError::from_exchange)?;
            let Some(data) = frame.data_ref() else { continue };
            if self.page.len() + data.len() > limit {
                return Err(FetchError::TooLarge(limit));
            }
            self.page.extend_from_slice(data);
        }
        Ok(())
    }
}

impl Connection {
    async fn open(target: &Target, page_tls: &PageTls) -> Result<Self, FetchError> {
        let stream = TcpStream::connect((target.host.as_str(), target.port)).await.map_err(|error| {
            match error.kind() {
                io::ErrorKind::ConnectionRefused => FetchError::Refused,
                _ => FetchError::Connect(error),
            }
        })?;
        stream.set_nodelay(true).map_err(FetchError::Connect)?;
        let Some(metrics_tls) = target.tls else { return Self::begin(stream).await };
        let secured = async { Self::begin(page_tls.connect(&target.host, stream, metrics_tls).await?).await };
        // Boxed, so that fetches without TLS need no memory for it.
        Box::pin(secured).await
    }

    async fn begin(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Self, FetchError> {
        let (sender, driver) = handshake(TokioIo::new(stream)).await.map_err(FetchError::Broken)?;
        // Requests on the connection return its errors, so the driver can ignore them.
        let driver = tokio::spawn(async { driver.await.unwrap_or_default() });
        Ok(Self { sender, _driver: AbortOnDropHandle::new(driver) })
    }

    async fn request(&mut self, target: &Target) -> Result<Response<Incoming>, hyper::Error> {
        let mut request = Request::new(Empty::new());
        if let Ok(path) = target.path.parse() {
            *request.uri_mut() = path;
        }
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, http::HeaderValue::from_static("signalbox-collector"));
        headers.insert(ACCEPT, http::HeaderValue::from_static("text/plain;version=0.0.4"));
        if let Ok(host) = target.authority.parse() {
            headers.insert(HOST, host);
        }
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }
}
