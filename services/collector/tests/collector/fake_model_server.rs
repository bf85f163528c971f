//! A model server that serves only a metrics page.

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::extract::connect_info::Connected;
use axum::http::StatusCode;
use axum::http::header::CONTENT_ENCODING;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::serve::{IncomingStream, Listener};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{StreamExt, stream};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::TIMEOUT;

const CHUNK_BYTES: usize = 64 << 10;

/// The response to a request for the page.
#[derive(Clone, Debug)]
pub(crate) enum Page {
    /// A page with these gauges, half of the KV cache in use, and a capacity of 1,600 tokens.
    Gauges { waiting: u32, running: u32 },
    /// The same page, compressed.
    Gzip { waiting: u32, running: u32 },
    /// A redirect to this URL. At `/moved/metrics` is a page with 7 running requests.
    Redirect(&'static str),
    /// This text.
    Text(&'static str),
    /// An error with this status code.
    Status(u16),
    /// Lines of metrics with this many bytes in total.
    Bytes(usize),
    /// Lines of metrics, a few at a time, without end.
    Trickle,
    /// No response.
    Silence,
}

#[derive(Debug)]
struct ServerState {
    page: Mutex<Page>,
    requests: watch::Sender<usize>,
    connections: Mutex<Vec<SocketAddr>>,
    sent_bytes: AtomicUsize,
}

/// Listens on a port that stays reserved even while the server is killed.
pub(crate) struct FakeModelServer {
    address: SocketAddr,
    _reserved: TcpSocket,
    state: Arc<ServerState>,
    tls: Option<TlsAcceptor>,
    running: Option<Runtime>,
}

impl FakeModelServer {
    pub(crate) fn start(page: Page) -> Self {
        Self::start_with(page, None)
    }

    /// Starts a server that is reached by https.
    pub(crate) fn start_tls(page: Page, tls: TlsAcceptor) -> Self {
        Self::start_with(page, Some(tls))
    }

    fn start_with(page: Page, tls: Option<TlsAcceptor>) -> Self {
        let reserved = TcpSocket::new_v4().unwrap();
        reserved.set_reuseaddr(true).unwrap();
        reserved.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let state = ServerState {
            page: Mutex::new(page),
            requests: watch::Sender::new(0),
            connections: Mutex::default(),
            sent_bytes: AtomicUsize::new(0),
        };
        let address = reserved.local_addr().unwrap();
        let mut server = Self { address, _reserved: reserved, state: Arc::new(state), tls, running: None };
        server.restart();
        server
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/metrics", self.address)
    }

    pub(crate) fn set_page(&self, page: Page) {
        *self.state.page.lock().unwrap() = page;
    }

    /// Closes the port and all connections.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.running.take() {
            runtime.shutdown_background();
        }
    }

    pub(crate) fn restart(&mut self) {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (address, state) = (self.address, self.state.clone());
        let _entered = runtime.enter();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(64).unwrap();
        match &self.tls {
            None => runtime.spawn(serve(listener, state)),
            Some(tls) => runtime.spawn(serve(TlsListener(listener, tls.clone()), state)),
        };
        self.running = Some(runtime);
    }

    pub(crate) fn requests(&self) -> usize {
        *self.state.requests.borrow()
    }

    /// Waits for this many more requests.
    pub(crate) async fn wait_for_requests(&self, more: usize) {
        let wanted = self.requests() + more;
        let mut requests = self.state.requests.subscribe();
        let arrived = requests.wait_for(|requests| *requests >= wanted);
        tokio::time::timeout(TIMEOUT, arrived).await.expect("the page is requested").unwrap();
    }

    /// Returns the number of connections that were ever used.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.lock().unwrap().len()
    }

    pub(crate) fn sent_bytes(&self) -> usize {
        self.state.sent_bytes.load(Ordering::Relaxed)
    }
}

impl Drop for FakeModelServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Accepts TLS connections, one handshake after the other.
struct TlsListener(TcpListener, TlsAcceptor);

impl Listener for TlsListener {
    type Io = tokio_rustls::server::TlsStream<tokio::net::TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, from) = self.0.accept().await.unwrap();
            if let Ok(stream) = self.1.accept(stream).await {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// The address that a connection comes from.
#[derive(Clone)]
struct Client(SocketAddr);

impl Connected<IncomingStream<'_, TcpListener>> for Client {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

impl Connected<IncomingStream<'_, TlsListener>> for Client {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

async fn serve<L: Listener<Addr = SocketAddr>>(listener: L, state: Arc<ServerState>)
where
    Client: for<'a> Connected<IncomingStream<'a, L>>,
{
    let page = move |ConnectInfo(Client(from)): ConnectInfo<Client>| {
        let state = state.clone();
        async move { state.respond(from).await }
    };
    let moved = get(async || gauges_page(0, 7));
    let router = Router::new().route("/metrics", get(page)).route("/moved/metrics", moved);
    let _ = axum::serve(listener, router.into_make_service_with_connect_info::<Client>()).await;
}

impl ServerState {
    async fn respond(self: Arc<Self>, from: SocketAddr) -> Response {
        {
            let mut connections = self.connections.lock().unwrap();
            if !connections.contains(&from) {
                connections.push(from);
            }
        }
        self.requests.send_modify(|requests| *requests += 1);
        let page = self.page.lock().unwrap().clone();
        match page {
            Page::Gauges { waiting, running } => gauges_page(waiting, running).into_response(),
            Page::Gzip { waiting, running } => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(gauges_page(waiting, running).as_bytes()).unwrap();
                ([(CONTENT_ENCODING, "gzip")], encoder.finish().unwrap()).into_response()
            }
            Page::Redirect(to) => Redirect::temporary(to).into_response(),
            Page::Text(text) => text.into_response(),
            Page::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
            Page::Bytes(bytes) => self.stream_lines(bytes / CHUNK_BYTES, Duration::ZERO),
            Page::Trickle => self.stream_lines(usize::MAX, Duration::from_millis(10)),
            Page::Silence => std::future::pending().await,
        }
    }

    fn stream_lines(self: Arc<Self>, chunks: usize, pause: Duration) -> Response {
        let chunk = Bytes::from("some_metric{label=\"value\"} 12345\n".repeat(CHUNK_BYTES / 33));
        let chunks = stream::repeat(chunk).take(chunks).then(move |chunk| {
            let state = self.clone();
            async move {
                tokio::time::sleep(pause).await;
                let chunk = if pause.is_zero() { chunk } else { chunk.slice(..33) };
                state.sent_bytes.fetch_add(chunk.len(), Ordering::Relaxed);
                Ok::<_, Infallible>(chunk)
            }
        });
        Body::from_stream(chunks).into_response()
    }
}

fn gauges_page(waiting: u32, running: u32) -> String {
    format!(
        "# TYPE vllm:num_requests_waiting gauge\n\
         vllm:num_requests_waiting{{engine=\"0\"}} {waiting}.0\n\
         vllm:num_requests_running{{engine=\"0\"}} {running}.0\n\
         vllm:kv_cache_usage_perc{{engine=\"0\"}} 0.5\n\
         vllm:cache_config_info{{block_size=\"16\",num_gpu_blocks=\"100\"}} 1.0\n\
         process_start_time_seconds 1.7e+09\n"
    )
}
