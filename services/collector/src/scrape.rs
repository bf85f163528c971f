//! One model server's metrics page over HTTP/1.1, on one connection that is kept.

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
use signalbox_types::{Engine, Sample};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use crate::config::ScrapeConfig;
use crate::target::Target;

/// Why a page could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScrapeError {
    #[error("nothing listens there")]
    Refused,
    #[error("no connection: {0}")]
    Connect(io::Error),
    #[error("no answer within {}", humantime::format_duration(*.0))]
    Late(Duration),
    #[error("the connection broke: {0}")]
    Broken(hyper::Error),
    #[error("the answer is no HTTP: {0}")]
    NotHttp(hyper::Error),
    #[error("the answer is {0}")]
    Status(StatusCode),
    #[error("the page is longer than {0} bytes")]
    TooLong(usize),
    #[error("the page had not ended after {}", humantime::format_duration(*.0))]
    Endless(Duration),
    #[error(transparent)]
    Page(#[from] PageError),
    #[error("{0}")]
    Target(Arc<str>),
}

impl ScrapeError {
    /// What this means for what is known of the model server.
    pub(crate) fn reading(&self) -> ScrapeResult {
        match self {
            Self::Refused => ScrapeResult::Refused,
            Self::Connect(_) | Self::Late(_) | Self::Broken(_) => ScrapeResult::Late,
            Self::NotHttp(_)
            | Self::Status(_)
            | Self::TooLong(_)
            | Self::Endless(_)
            | Self::Page(_)
            | Self::Target(_) => ScrapeResult::Unusable,
        }
    }

    fn of_exchange(error: hyper::Error) -> Self {
        if error.is_parse() { Self::NotHttp(error) } else { Self::Broken(error) }
    }
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    _driver: AbortOnDropHandle<()>,
}

/// Reads the page of one target again and again.
#[derive(Debug)]
pub(crate) struct Scraper {
    target: Result<Target, Arc<str>>,
    limits: ScrapeConfig,
    connection: Option<Connection>,
    page: Vec<u8>,
}

impl Scraper {
    /// Does nothing yet. A URL that cannot be read is an error of each attempt.
    pub(crate) fn new(url: &str, limits: ScrapeConfig) -> Self {
        Self { target: Target::parse(url).map_err(Arc::from), limits, connection: None, page: Vec::new() }
    }

    /// Fetches the page; it is then at hand for [`Self::sample`].
    pub(crate) async fn fetch(&mut self) -> Result<(), ScrapeError> {
        let fetched = self.exchange().await;
        if fetched.is_err() {
            self.connection = None;
            self.page = Vec::new();
        }
        fetched
    }

    /// What the page says that was fetched last.
    pub(crate) fn sample(&self, engine: Engine) -> Result<Sample, ScrapeError> {
        Ok(metrics::read(engine, &self.page)?)
    }

    async fn exchange(&mut self) -> Result<(), ScrapeError> {
        let deadline = self.limits.deadline;
        let until = Instant::now() + deadline;
        let response = timeout_at(until, self.ask()).await.unwrap_or(Err(ScrapeError::Late(deadline)))?;
        if response.status() != StatusCode::OK {
            return Err(ScrapeError::Status(response.status()));
        }
        let collected = timeout_at(until, self.collect(response)).await;
        collected.unwrap_or(Err(ScrapeError::Endless(deadline)))
    }

    /// Asks on the connection that was kept, or on a new one if there is none or it turns out to have been closed meanwhile.
    async fn ask(&mut self) -> Result<Response<Incoming>, ScrapeError> {
        let target = self.target.as_ref().map_err(|error| ScrapeError::Target(error.clone()))?;
        if let Some(kept) = &mut self.connection {
            match kept.ask(target).await {
                Err(error) if !error.is_parse() => {}
                outcome => return outcome.map_err(ScrapeError::of_exchange),
            }
        }
        let connection = self.connection.insert(Connection::open(target).await?);
        connection.ask(target).await.map_err(ScrapeError::of_exchange)
    }

    async fn collect(&mut self, response: Response<Incoming>) -> Result<(), ScrapeError> {
        let limit = self.limits.page_bytes;
        let mut body = response.into_body();
        if body.size_hint().lower() > limit as u64 {
            return Err(ScrapeError::TooLong(limit));
        }
        self.page.clear();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(ScrapeError::of_exchange)?;
            let Some(data) = frame.data_ref() else { continue };
            if self.page.len() + data.len() > limit {
                return Err(ScrapeError::TooLong(limit));
            }
            self.page.extend_from_slice(data);
        }
        Ok(())
    }
}

impl Connection {
    async fn open(target: &Target) -> Result<Self, ScrapeError> {
        let stream = TcpStream::connect((target.host.as_str(), target.port)).await.map_err(|error| {
            match error.kind() {
                io::ErrorKind::ConnectionRefused => ScrapeError::Refused,
                _ => ScrapeError::Connect(error),
            }
        })?;
        stream.set_nodelay(true).map_err(ScrapeError::Connect)?;
        let (sender, driver) = handshake(TokioIo::new(stream)).await.map_err(ScrapeError::Broken)?;
        // What goes wrong on the connection is told to whoever asks on it.
        let driver = tokio::spawn(async { driver.await.unwrap_or_default() });
        Ok(Self { sender, _driver: AbortOnDropHandle::new(driver) })
    }

    async fn ask(&mut self, target: &Target) -> Result<Response<Incoming>, hyper::Error> {
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
