//! A persistent HTTP/1.1 connection to the server of a metrics page, with or without TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, HOST, USER_AGENT};
use http::{HeaderValue, Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use signalbox_tls::PageTls;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::fetch_error::FetchError;
use super::target::Target;

/// How old a connection to a host name may get before the name is resolved again.
pub(super) const RESOLVE_AGAIN: Duration = Duration::from_secs(30);

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    _driver: AbortOnDropHandle<()>,
    /// When the host was last resolved, or that failed, if the host is a name.
    pub(super) resolved_at: Option<Instant>,
}

impl Connection {
    /// Opens a connection to the first address of the host that accepts one. Each gets its part of `limit`.
    pub(super) async fn open(
        target: &Target,
        page_tls: &PageTls,
        limit: Duration,
    ) -> Result<Self, FetchError> {
        let ip = target.host.parse::<IpAddr>();
        let stream = match ip {
            Ok(ip) => TcpStream::connect(SocketAddr::new(ip, target.port)).await.map_err(connect_error)?,
            Err(_) => connect_any(target, limit).await?,
        };
        let resolved_at = ip.is_err().then(Instant::now);
        stream.set_nodelay(true).map_err(FetchError::Connect)?;
        let Some(metrics_tls) = target.tls else { return Self::begin(stream, resolved_at).await };
        let secured = async {
            Self::begin(page_tls.connect(&target.host, stream, metrics_tls).await?, resolved_at).await
        };
        // Boxed, so that fetches without TLS need no memory for it.
        Box::pin(secured).await
    }

    async fn begin(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        resolved_at: Option<Instant>,
    ) -> Result<Self, FetchError> {
        let (sender, driver) = handshake(TokioIo::new(stream)).await.map_err(FetchError::from_exchange)?;
        // Requests on the connection return its errors, so the driver can ignore them.
        let driver = tokio::spawn(async { driver.await.unwrap_or_default() });
        Ok(Self { sender, _driver: AbortOnDropHandle::new(driver), resolved_at })
    }

    /// Returns whether the host's name should be resolved again.
    pub(super) fn is_outdated(&self) -> bool {
        self.resolved_at.is_some_and(|resolved_at| resolved_at.elapsed() >= RESOLVE_AGAIN)
    }

    /// Opens a new connection in place of an outdated one. If that fails, or takes longer than `limit`, the old one
    /// stays as long again: a host name that cannot be resolved must not end a connection that works.
    pub(super) async fn renew(&mut self, target: &Target, page_tls: &PageTls, limit: Duration) {
        match timeout(limit, Self::open(target, page_tls, limit)).await {
            Ok(Ok(opened)) => *self = opened,
            Ok(Err(_)) | Err(_) => self.resolved_at = Some(Instant::now()),
        }
    }

    pub(super) async fn request(&mut self, target: &Target) -> Result<Response<Incoming>, hyper::Error> {
        let mut request = Request::new(Empty::new());
        if let Ok(path) = target.path.parse() {
            *request.uri_mut() = path;
        }
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static("signalbox-collector"));
        headers.insert(ACCEPT, HeaderValue::from_static("text/plain;version=0.0.4"));
        // Compressing the page twenty times a second would cost the server more than sending it.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Ok(host) = target.authority.parse() {
            headers.insert(HOST, host);
        }
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }
}

/// Connects to the first address of the host, a name, that accepts a connection.
async fn connect_any(target: &Target, limit: Duration) -> Result<TcpStream, FetchError> {
    let found = lookup_host((target.host.as_str(), target.port)).await.map_err(FetchError::Connect)?;
    let addresses: Vec<SocketAddr> = found.collect();
    let each = limit / u32::try_from(addresses.len()).unwrap_or(1).max(1);
    let mut error = FetchError::Connect(io::Error::other("the host name has no address"));
    for address in addresses {
        match timeout(each, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(failed)) => error = connect_error(failed),
            Err(_) => error = FetchError::NoResponse(each),
        }
    }
    Err(error)
}

fn connect_error(error: io::Error) -> FetchError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => FetchError::Refused,
        _ => FetchError::Connect(error),
    }
}
