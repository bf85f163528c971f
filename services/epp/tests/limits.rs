//! Resource limits towards gateways: mass disconnects of clients, thousands of streams, and oversized
//! messages.
#![allow(clippy::unwrap_used)] // in a test, a panic is the error report

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use signalbox_epp::{Epp, EppConfig, FlowControl, FlowMode, PortFlags};
use signalbox_protos::envoy::service::ext_proc::v3::external_processor_client::ExternalProcessorClient;
use signalbox_protos::envoy::service::ext_proc::v3::processing_request::Request;
use signalbox_protos::envoy::service::ext_proc::v3::processing_response::Response;
use signalbox_protos::envoy::service::ext_proc::v3::{
    HttpBody, HttpHeaders, ProcessingRequest, ProcessingResponse,
};
use signalbox_tls::{ServerTls, TlsParameters, connect_unverified};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

type Client = ExternalProcessorClient<Channel>;

type Inbound = Streaming<ProcessingResponse>;

const RESETS: usize = 1_000;

/// Starts a replica without aggregators and therefore without endpoints. It refuses requests at once.
async fn start_without_endpoints(buffer_limit_bytes: u64) -> Epp {
    start(buffer_limit_bytes, FlowMode::Off).await
}

/// Starts a replica without endpoints, at which requests wait for the first one or not.
async fn start(buffer_limit_bytes: u64, mode: FlowMode) -> Epp {
    let config = EppConfig {
        flow_control: FlowControl { mode, ..FlowControl::default() },
        serving: ServerTls::self_signed(&TlsParameters::default()).unwrap(),
        body_limit_bytes: 1 << 20,
        buffer_limit_bytes,
        received_message_limit_bytes: EppConfig::message_limit_bytes(1 << 20),
        ..EppConfig::local("epp")
    };
    let flags = PortFlags { ext_proc: "", health: "", access_log: "", metrics: "" };
    Epp::start(config, flags).await.unwrap()
}

fn headers() -> ProcessingRequest {
    let headers = [(":method", "POST"), (":path", "/v1/completions")].into_iter().collect();
    Request::RequestHeaders(HttpHeaders { headers: Some(headers), ..HttpHeaders::default() }).into()
}

fn body() -> ProcessingRequest {
    part(br#"{"model":"llama","prompt":"Hi"}"#.to_vec(), true)
}

fn part(body: Vec<u8>, end_of_stream: bool) -> ProcessingRequest {
    Request::RequestBody(HttpBody { body: body.into(), end_of_stream }).into()
}

/// Returns the status and text of the next message, which must be a refusal.
async fn refusal(inbound: &mut Inbound) -> (i32, String) {
    let answer = inbound.message().await.unwrap().expect("the stream ended").response;
    let Some(Response::ImmediateResponse(refused)) = answer else { panic!("{answer:?}") };
    (refused.status.unwrap().code, String::from_utf8(refused.body.to_vec()).unwrap())
}

/// A replica on its own thread, which tests can block.
struct ThreadedReplica {
    address: SocketAddr,
    handle: Handle,
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl ThreadedReplica {
    async fn start() -> Self {
        let ((started, is_started), (stop, stopped)) = (oneshot::channel(), oneshot::channel::<()>());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let epp = start_without_endpoints(1 << 30).await;
                started.send((epp.ext_proc_address(), Handle::current())).unwrap();
                stopped.await.unwrap();
                epp.stop().await;
            });
        });
        let (address, handle) = is_started.await.unwrap();
        Self { address: address.unwrap(), handle, stop, thread }
    }

    /// Blocks the replica's thread until the returned sender is dropped.
    async fn block(&self) -> std::sync::mpsc::Sender<()> {
        let ((blocked, is_blocked), (release, released)) = (oneshot::channel(), std::sync::mpsc::channel());
        self.handle.spawn(async move {
            blocked.send(()).unwrap();
            let _ = released.recv();
        });
        is_blocked.await.unwrap();
        release
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        task::spawn_blocking(|| self.thread.join().unwrap()).await.unwrap();
    }
}

async fn open(client: &mut Client, requests: mpsc::Receiver<ProcessingRequest>) -> Inbound {
    client.process(ReceiverStream::new(requests)).await.unwrap().into_inner()
}

/// Opens streams, each in a task that drops the stream when it is aborted.
fn open_streams(client: &Client) -> Vec<task::JoinHandle<Inbound>> {
    let opened = (0..RESETS).map(|_| {
        let mut client = client.clone();
        tokio::spawn(async move {
            let (messages, requests) = mpsc::channel(1);
            messages.send(headers()).await.unwrap();
            open(&mut client, requests).await
        })
    });
    opened.collect()
}

/// Lets the clients send everything that needs no answer.
async fn flush_clients() {
    for _ in 0..RESETS {
        task::yield_now().await;
    }
}

#[tokio::test]
async fn thousand_resets_do_not_affect_other_streams_of_the_connection() {
    let replica = ThreadedReplica::start().await;
    let channel = connect_unverified(&replica.address.into(), |endpoint| endpoint).unwrap();
    let mut client = Client::new(channel);
    let (messages, requests) = mpsc::channel(2);
    messages.send(headers()).await.unwrap();
    let mut survivor = open(&mut client, requests).await;
    // Streams that the replica has accepted.
    for opened in open_streams(&client) {
        drop(opened.await.unwrap());
    }
    // Streams that are reset before the replica accepts them.
    let release = replica.block().await;
    let opened = open_streams(&client);
    flush_clients().await;
    opened.iter().for_each(task::JoinHandle::abort);
    flush_clients().await;
    drop(release);
    messages.send(body()).await.unwrap();
    assert_eq!(503, refusal(&mut survivor).await.0);
    // No stream is left that would delay the stop.
    drop((messages, survivor, client));
    replica.stop().await;
}

const STREAMS: usize = 10_000;
const CONNECTIONS: usize = 10;
const PART_BYTES: usize = 1_024;
/// Number of streams that may buffer one part each.
const STREAMS_WITH_ROOM: usize = 1_000;

/// Sends a part of a body, and its end once `go_on` is true; returns the text of the refusal.
async fn send_until_refused(
    mut client: Client,
    refused: &AtomicUsize,
    mut go_on: watch::Receiver<bool>,
) -> String {
    let (messages, requests) = mpsc::channel(2);
    messages.send(headers()).await.unwrap();
    messages.send(part(vec![b' '; PART_BYTES], false)).await.unwrap();
    let mut inbound = open(&mut client, requests).await;
    let end = async {
        go_on.wait_for(|go_on| *go_on).await.unwrap();
        messages.send(body()).await.unwrap();
        std::future::pending::<()>().await;
    };
    let (_, text) = tokio::select! {
        refusal = refusal(&mut inbound) => refusal,
        () = end => unreachable!("the stream never ends by itself"),
    };
    refused.fetch_add(1, Ordering::Relaxed);
    text
}

/// Returns the replica's metrics page.
async fn metrics(epp: &Epp) -> String {
    let mut page = String::new();
    let mut connection = TcpStream::connect(epp.metrics_address()).await.unwrap();
    connection.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.unwrap();
    connection.read_to_string(&mut page).await.unwrap();
    page
}

/// Returns the value of a metric on the replica's metrics page.
async fn metric(epp: &Epp, name: &str) -> f64 {
    let page = metrics(epp).await;
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {page}")).parse().unwrap()
}

#[tokio::test]
async fn buffered_bytes_stay_within_the_limit_with_ten_thousand_streams() {
    let epp = start_without_endpoints((STREAMS_WITH_ROOM * PART_BYTES) as u64).await;
    let (may_go_on, go_on) = watch::channel(false);
    let refused = Arc::new(AtomicUsize::new(0));
    let address = epp.ext_proc_address().unwrap().into();
    let clients: Vec<Client> = (0..CONNECTIONS)
        .map(|_| Client::new(connect_unverified(&address, |endpoint| endpoint).unwrap()))
        .collect();
    let streams: Vec<_> = (0..STREAMS)
        .map(|number| {
            let (client, refused, go_on) =
                (clients[number % CONNECTIONS].clone(), Arc::clone(&refused), go_on.clone());
            tokio::spawn(async move { send_until_refused(client, &refused, go_on).await })
        })
        .collect();
    while refused.load(Ordering::Relaxed) < STREAMS - STREAMS_WITH_ROOM {
        task::yield_now().await;
    }
    let buffered_bytes = metric(&epp, "signalbox_epp_buffered_body_bytes").await;
    assert!(
        buffered_bytes > 0.0 && buffered_bytes <= (STREAMS_WITH_ROOM * PART_BYTES) as f64,
        "{buffered_bytes}"
    );
    may_go_on.send_replace(true);
    let mut texts = BTreeMap::new();
    for stream in streams {
        *texts.entry(stream.await.unwrap()).or_insert(0) += 1;
    }
    let (full, none) = ("too many request bodies", "failed to find endpoint candidates");
    let count = |text: &str| {
        texts.iter().filter(|(refusal, _)| refusal.contains(text)).map(|(_, count)| count).sum::<usize>()
    };
    // The remaining streams need more buffer space, which only some of them get.
    assert!(
        count(full) >= STREAMS - STREAMS_WITH_ROOM && count(none) > 0 && count(full) + count(none) == STREAMS,
        "{texts:?}"
    );
    drop(clients);
    epp.stop().await;
}

#[tokio::test]
async fn bodies_of_requests_that_wait_count_against_the_limit() {
    let epp = start(1 << 20, FlowMode::On).await;
    let address = epp.ext_proc_address().unwrap().into();
    let mut client = Client::new(connect_unverified(&address, |endpoint| endpoint).unwrap());
    let (messages, requests) = mpsc::channel(2);
    messages.send(headers()).await.unwrap();
    messages.send(body()).await.unwrap();
    let inbound = open(&mut client, requests).await;
    let buffered = async || metric(&epp, "signalbox_epp_buffered_body_bytes").await;
    while !metrics(&epp).await.contains("llm_d_epp_flow_control_queue_size{") {
        task::yield_now().await;
    }
    assert!(buffered().await > 0.0);
    drop((messages, inbound));
    while buffered().await > 0.0 {
        task::yield_now().await;
    }
    epp.stop().await;
}

/// More than one address may have at a time.
#[tokio::test]
async fn connections_that_never_speak_keep_no_gateway_out() {
    let epp = start_without_endpoints(1 << 30).await;
    let address = epp.ext_proc_address().unwrap();
    let mut silent = Vec::new();
    for _ in 0..400 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let mut client = Client::new(connect_unverified(&address.into(), |endpoint| endpoint).unwrap());
    let (messages, requests) = mpsc::channel(2);
    messages.send(headers()).await.unwrap();
    messages.send(body()).await.unwrap();
    let mut inbound = open(&mut client, requests).await;
    assert_eq!(503, refusal(&mut inbound).await.0);
    drop((messages, inbound, client, silent));
    epp.stop().await;
}

#[tokio::test]
async fn contract_3_3_row_25_oversized_message_is_refused_with_413() {
    let epp = start_without_endpoints(1 << 30).await;
    let mut client = Client::new(
        connect_unverified(&epp.ext_proc_address().unwrap().into(), |endpoint| endpoint).unwrap(),
    );
    let (messages, requests) = mpsc::channel(2);
    messages.send(headers()).await.unwrap();
    messages.send(part(vec![b' '; 3 << 20], true)).await.unwrap();
    let mut inbound = open(&mut client, requests).await;
    let (status, text) = refusal(&mut inbound).await;
    assert_eq!((413, true), (status, text.contains("longer than 1048576 bytes")), "{text}");
    drop((messages, inbound, client));
    epp.stop().await;
}
