//! A model server of which only the metrics page matters.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::{StreamExt, stream};
use tokio::net::TcpSocket;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::PATIENCE;

const CHUNK_BYTES: usize = 64 << 10;

/// What a request for the page gets.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A page with these gauges, KV use of one half, and a capacity of 1,600 tokens.
    Gauges { waiting: u32, running: u32 },
    /// This, as it is.
    Text(&'static str),
    /// An error of this status.
    Status(u16),
    /// Lines of metrics, this many bytes of them.
    Bytes(usize),
    /// Lines of metrics, a few at a time, for ever.
    Trickle,
    /// Nothing, ever.
    Silence,
}

#[derive(Debug)]
struct Desk {
    answer: Mutex<Answer>,
    requests: watch::Sender<usize>,
    connections: Mutex<Vec<SocketAddr>>,
    sent_bytes: AtomicUsize,
}

/// Listens on a port of its own that nobody else can get, even while it is killed.
pub(crate) struct ModelServer {
    address: SocketAddr,
    _reserved: TcpSocket,
    desk: Arc<Desk>,
    running: Option<Runtime>,
}

impl ModelServer {
    pub(crate) fn start(answer: Answer) -> Self {
        let reserved = TcpSocket::new_v4().unwrap();
        reserved.set_reuseaddr(true).unwrap();
        reserved.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let desk = Desk {
            answer: Mutex::new(answer),
            requests: watch::Sender::new(0),
            connections: Mutex::default(),
            sent_bytes: AtomicUsize::new(0),
        };
        let address = reserved.local_addr().unwrap();
        let mut server = Self { address, _reserved: reserved, desk: Arc::new(desk), running: None };
        server.restart();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }

    pub(crate) fn answer(&self, answer: Answer) {
        *self.desk.answer.lock().unwrap() = answer;
    }

    /// Closes the port and every connection.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.running.take() {
            runtime.shutdown_background();
        }
    }

    pub(crate) fn restart(&mut self) {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (address, desk) = (self.address, self.desk.clone());
        let page = move |ConnectInfo(from): ConnectInfo<SocketAddr>| {
            let desk = desk.clone();
            async move { desk.respond(from).await }
        };
        let _entered = runtime.enter();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(64).unwrap();
        runtime.spawn(async move {
            let router = Router::new().route("/metrics", get(page));
            axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await
        });
        self.running = Some(runtime);
    }

    pub(crate) fn requests(&self) -> usize {
        *self.desk.requests.borrow()
    }

    /// Waits until this many more requests have come.
    pub(crate) async fn asked_again(&self, more: usize) {
        let wanted = self.requests() + more;
        let mut requests = self.desk.requests.subscribe();
        let come = requests.wait_for(|requests| *requests >= wanted);
        tokio::time::timeout(PATIENCE, come).await.expect("the page is asked for").unwrap();
    }

    /// Connections that were ever used.
    pub(crate) fn connections(&self) -> usize {
        self.desk.connections.lock().unwrap().len()
    }

    pub(crate) fn sent_bytes(&self) -> usize {
        self.desk.sent_bytes.load(Ordering::Relaxed)
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Desk {
    async fn respond(self: Arc<Self>, from: SocketAddr) -> Response {
        {
            let mut connections = self.connections.lock().unwrap();
            if !connections.contains(&from) {
                connections.push(from);
            }
        }
        self.requests.send_modify(|requests| *requests += 1);
        let answer = self.answer.lock().unwrap().clone();
        match answer {
            Answer::Gauges { waiting, running } => page(waiting, running).into_response(),
            Answer::Text(text) => text.into_response(),
            Answer::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
            Answer::Bytes(bytes) => self.lines(bytes / CHUNK_BYTES, Duration::ZERO),
            Answer::Trickle => self.lines(usize::MAX, Duration::from_millis(10)),
            Answer::Silence => std::future::pending().await,
        }
    }

    fn lines(self: Arc<Self>, chunks: usize, pause: Duration) -> Response {
        let chunk = Bytes::from("some_metric{label=\"value\"} 12345\n".repeat(CHUNK_BYTES / 33));
        let chunks = stream::repeat(chunk).take(chunks).then(move |chunk| {
            let desk = self.clone();
            async move {
                tokio::time::sleep(pause).await;
                let chunk = if pause.is_zero() { chunk } else { chunk.slice(..33) };
                desk.sent_bytes.fetch_add(chunk.len(), Ordering::Relaxed);
                Ok::<_, Infallible>(chunk)
            }
        });
        Body::from_stream(chunks).into_response()
    }
}

fn page(waiting: u32, running: u32) -> String {
    format!(
        "# TYPE vllm:num_requests_waiting gauge\n\
         vllm:num_requests_waiting{{engine=\"0\"}} {waiting}.0\n\
         vllm:num_requests_running{{engine=\"0\"}} {running}.0\n\
         vllm:kv_cache_usage_perc{{engine=\"0\"}} 0.5\n\
         vllm:cache_config_info{{block_size=\"16\",num_gpu_blocks=\"100\"}} 1.0\n\
         process_start_time_seconds 1.7e+09\n"
    )
}
