//! Fetches the metrics page of one endpoint on a persistent connection.

use std::sync::Arc;

use http::header::LOCATION;
use http::{Response, StatusCode};
use hyper::body::Incoming;
use signalbox_dialect::metrics;
use signalbox_tls::PageTls;
use signalbox_types::{Engine, MetricsTls, Sample};
use tokio::time::{Instant, timeout_at};

use super::connection::Connection;
use super::fetch_error::FetchError;
use super::page_body;
use super::target::Target;
use crate::config::ScrapeConfig;

/// How many redirects of a page are followed.
const MAX_REDIRECTS: usize = 5;

/// Fetches the page of one target repeatedly.
#[derive(Debug)]
pub(crate) struct PageFetcher {
    target: Result<Target, Arc<str>>,
    /// Where the target redirected to, until a fetch fails there.
    redirected: Option<Target>,
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
        Self { target, redirected: None, limits, page_tls, connection: None, page: Vec::new() }
    }

    /// Fetches the page, which [`Self::sample`] then parses.
    pub(crate) async fn fetch(&mut self) -> Result<(), FetchError> {
        let fetched = self.exchange().await;
        if fetched.is_err() {
            self.connection = None;
            self.redirected = None;
            self.page = Vec::new();
        }
        fetched
    }

    /// Parses the page that was fetched last.
    pub(crate) fn sample(&self, engine: &Engine) -> Result<Sample, FetchError> {
        Ok(metrics::parse(engine, &self.page)?)
    }

    async fn exchange(&mut self) -> Result<(), FetchError> {
        let timeout = self.limits.timeout;
        let deadline = Instant::now() + timeout;
        let response =
            timeout_at(deadline, self.follow()).await.unwrap_or(Err(FetchError::NoResponse(timeout)))?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let body_read = page_body::read(response, self.limits.max_page_bytes, &mut self.page);
        timeout_at(deadline, body_read).await.unwrap_or(Err(FetchError::Incomplete(timeout)))
    }

    /// Sends the request to the target, and to where it redirects.
    async fn follow(&mut self) -> Result<Response<Incoming>, FetchError> {
        for _ in 0..=MAX_REDIRECTS {
            let response = self.request().await?;
            if !is_redirect(response.status()) {
                return Ok(response);
            }
            let Some(location) = response.headers().get(LOCATION) else { return Ok(response) };
            let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
            let target = current(&self.target, self.redirected.as_ref())?;
            let next = target.redirected(&location);
            let next = next.map_err(|reason| FetchError::Redirect { location, reason })?;
            if !next.has_server_of(target) {
                self.connection = None;
            }
            // An unread body would leave the connection unusable; the next request then opens another.
            self.redirected = Some(next);
        }
        Err(FetchError::Redirects(MAX_REDIRECTS))
    }

    /// Sends the request on the open connection, or on a new one if there is none or the server closed it in
    /// the meantime.
    async fn request(&mut self) -> Result<Response<Incoming>, FetchError> {
        let target = current(&self.target, self.redirected.as_ref())?;
        if let Some(open) = &mut self.connection {
            if open.is_outdated() {
                // The other half of the time is for the page.
                open.renew(target, &self.page_tls, self.limits.timeout / 2).await;
            }
            match open.request(target).await {
                Err(error) if !error.is_parse() => {}
                outcome => return outcome.map_err(FetchError::from_exchange),
            }
        }
        let opened = Connection::open(target, &self.page_tls, self.limits.timeout).await?;
        let response = self.connection.insert(opened).request(target).await;
        response.map_err(FetchError::from_exchange)
    }
}

/// Returns where requests are sent: to the target, or where it redirected to.
fn current<'a>(
    target: &'a Result<Target, Arc<str>>,
    redirected: Option<&'a Target>,
) -> Result<&'a Target, FetchError> {
    match (redirected, target) {
        (Some(redirected), _) => Ok(redirected),
        (None, target) => target.as_ref().map_err(|error| FetchError::Target(error.clone())),
    }
}

fn is_redirect(status: StatusCode) -> bool {
    [
        StatusCode::MOVED_PERMANENTLY,
        StatusCode::FOUND,
        StatusCode::SEE_OTHER,
        StatusCode::TEMPORARY_REDIRECT,
        StatusCode::PERMANENT_REDIRECT,
    ]
    .contains(&status)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::scrape::connection::RESOLVE_AGAIN;

    async fn respond(stream: &mut TcpStream) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na\n").await.unwrap();
    }

    #[tokio::test]
    async fn outdated_connection_stays_while_no_other_can_be_opened() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("http://localhost:{}/metrics", address.port());
        let tls = Arc::new(PageTls::default());
        // Long, so that a busy machine does not end a fetch.
        let limits = ScrapeConfig { timeout: Duration::from_secs(60), ..ScrapeConfig::default() };
        let mut fetcher = PageFetcher::new(&url, MetricsTls::Verified, limits, tls);
        let accept = async {
            let mut stream = listener.accept().await.unwrap().0;
            respond(&mut stream).await;
            stream
        };
        let (fetched, mut stream) = tokio::join!(fetcher.fetch(), accept);
        fetched.unwrap();
        // Nobody accepts connections any more, as if the name led elsewhere.
        drop(listener);
        let outdated = Instant::now().checked_sub(RESOLVE_AGAIN);
        fetcher.connection.as_mut().unwrap().resolved_at = outdated;
        let (fetched, ()) = tokio::join!(fetcher.fetch(), respond(&mut stream));
        fetched.unwrap();
        assert!(!fetcher.connection.as_ref().unwrap().is_outdated(), "it is renewed later");
        // A server that accepts connections again gets the next one.
        let listener = TcpListener::bind(address).await.unwrap();
        fetcher.connection.as_mut().unwrap().resolved_at = outdated;
        let accept = async { respond(&mut listener.accept().await.unwrap().0).await };
        let (fetched, ()) = tokio::join!(fetcher.fetch(), accept);
        fetched.unwrap();
    }
}
