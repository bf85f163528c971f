//! Gateways that ask for much: whose clients go away all at once, that open very many streams, or send very long messages.
#![allow(clippy::unwrap_used)] // in a test, a panic is the message

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use signalbox_epp::{Epp, EppConfig, PortFlags};
use signalbox_protos::envoy::service::ext_proc::v3::external_processor_client::ExternalProcessorClient;
use signalbox_protos::envoy::service::ext_proc::v3::processing_request::Request;
use signalbox_protos::envoy::service::ext_proc::v3::processing_response::Response;
use signalbox_protos::envoy::service::ext_proc::v3::{
    HttpBody, HttpHeaders, ProcessingRequest, ProcessingResponse,
};
use signalbox_tls::{Offer, Serving, connect_unverified};
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

/// A replica that has nobody to follow, and so no endpoints.
async fn lonely(buffer_limit_bytes: u64) -> Epp {
    let config = EppConfig {
        serving: Serving::self_signed(&Offer::default()).unwrap(),
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

/// Status and text of the refusal that comes next.
async fn refusal(inbound: &mut Inbound) -> (i32, String) {
    let answer = inbound.message().await.unwrap().expect("the stream ended").response;
    let Some(Response::ImmediateResponse(refused)) = answer else { panic!("{answer:?}") };
    (refused.status.unwrap().code, String::from_utf8(refused.body.to_vec()).unwrap())
}

/// A replica on a thread of its own, which can be held up.
struct Apart {
    address: SocketAddr,
    handle: Handle,
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Apart {
    async fn start() -> Self {
        let ((started, starts), (stop, stopped)) = (oneshot::channel(), oneshot::channel::<()>());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let epp = lonely(1 << 30).await;
                started.send((epp.ext_proc_address(), Handle::current())).unwrap();
                stopped.await.unwrap();
                epp.stop().await;
            });
        });
        let (address, handle) = starts.await.unwrap();
        Self { address, handle, stop, thread }
    }

    /// Nothing moves in it until what is returned is dropped.
    async fn hold(&self) -> std::sync::mpsc::Sender<()> {
        let ((held, holds), (release, released)) = (oneshot::channel(), std::sync::mpsc::channel());
        self.handle.spawn(async move {
            held.send(()).unwrap();
            let _ = released.recv();
        });
        holds.await.unwrap();
        release
    }

    async fn end(self) {
        self.stop.send(()).unwrap();
        task::spawn_blocking(|| self.thread.join().unwrap()).await.unwrap();
    }
}

async fn open(client: &mut Client, requests: mpsc::Receiver<ProcessingRequest>) -> Inbound {
    client.process(ReceiverStream::new(requests)).await.unwrap().into_inner()
}

/// Opens streams, each of which is dropped with its task.
fn opening(client: &Client) -> Vec<task::JoinHandle<Inbound>> {
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

/// All that can be sent without an answer is sent.
async fn send_all() {
    for _ in 0..RESETS {
        task::yield_now().await;
    }
}

#[tokio::test]
async fn a_thousand_resets_leave_the_connection_and_its_other_streams_alone() {
    let replica = Apart::start().await;
    let channel = connect_unverified(&replica.address.into(), |endpoint| endpoint).unwrap();
    let mut client = Client::new(channel);
    let (messages, requests) = mpsc::channel(2);
    messages.send(headers()).await.unwrap();
    let mut living = open(&mut client, requests).await;
    // Streams that are known to the replica.
    for opened in opening(&client) {
        drop(opened.await.unwrap());
    }
    // Streams that are gone when it comes to look at them.
    let release = replica.hold().await;
    let opened = opening(&client);
    send_all().await;
    opened.iter().for_each(task::JoinHandle::abort);
    send_all().await;
    drop(release);
    messages.send(body()).await.unwrap();
    assert_eq!(503, refusal(&mut living).await.0);
    // Nothing is left that would hold up the end.
    drop((messages, living, client));
    replica.end().await;
}

const STREAMS: usize = 10_000;
const CONNECTIONS: usize = 10;
const PART_BYTES: usize = 1_024;
/// So many streams may hold a part each.
const ROOM: usize = 1_000;

/// One of very many: sends a part of a body, and its end when it may; says how it was refused.
async fn one_of_many(mut client: Client, refused: &AtomicUsize, mut go_on: watch::Receiver<bool>) -> String {
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
        () = end => unreachable!("it does not end"),
    };
    refused.fetch_add(1, Ordering::Relaxed);
    text
}

/// What the replica's metrics page says.
async fn metric(epp: &Epp, name: &str) -> f64 {
    let mut page = String::new();
    let mut connection = TcpStream::connect(epp.metrics_address()).await.unwrap();
    connection.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.unwrap();
    connection.read_to_string(&mut page).await.unwrap();
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {page}")).parse().unwrap()
}

#[tokio::test]
async fn ten_thousand_open_streams_hold_no_more_than_they_may() {
    let epp = lonely((ROOM * PART_BYTES) as u64).await;
    let (may_go_on, go_on) = watch::channel(false);
    let refused = Arc::new(AtomicUsize::new(0));
    let address = epp.ext_proc_address().into();
    let clients: Vec<Client> = (0..CONNECTIONS)
        .map(|_| Client::new(connect_unverified(&address, |endpoint| endpoint).unwrap()))
        .collect();
    let streams: Vec<_> = (0..STREAMS)
        .map(|number| {
            let (client, refused, go_on) =
                (clients[number % CONNECTIONS].clone(), Arc::clone(&refused), go_on.clone());
            tokio::spawn(async move { one_of_many(client, &refused, go_on).await })
        })
        .collect();
    while refused.load(Ordering::Relaxed) < STREAMS - ROOM {
        task::yield_now().await;
    }
    let held_bytes = metric(&epp, "signalbox_epp_buffered_bytes").await;
    assert!(held_bytes > 0.0 && held_bytes <= (ROOM * PART_BYTES) as f64, "{held_bytes}");
    may_go_on.send_replace(true);
    let mut texts = BTreeMap::new();
    for stream in streams {
        *texts.entry(stream.await.unwrap()).or_insert(0) += 1;
    }
    let (full, none) = ("too many request bodies", "failed to find endpoint candidates");
    let count = |text: &str| {
        texts.iter().filter(|(told, _)| told.contains(text)).map(|(_, count)| count).sum::<usize>()
    };
    // What goes on needs more room, which some find and others do not.
    assert!(
        count(full) >= STREAMS - ROOM && count(none) > 0 && count(full) + count(none) == STREAMS,
        "{texts:?}"
    );
    drop(clients);
    epp.stop().await;
}

#[tokio::test]
async fn contract_3_3_row_25_a_message_above_the_limit_is_answered_with_413() {
    let epp = lonely(1 << 30).await;
    let mut client =
        Client::new(connect_unverified(&epp.ext_proc_address().into(), |endpoint| endpoint).unwrap());
    let (messages, requests) = mpsc::channel(2);
    messages.send(headers()).await.unwrap();
    messages.send(part(vec![b' '; 3 << 20], true)).await.unwrap();
    let mut inbound = open(&mut client, requests).await;
    let (status, text) = refusal(&mut inbound).await;
    assert_eq!((413, true), (status, text.contains("longer than 1048576 bytes")), "{text}");
    drop((messages, inbound, client));
    epp.stop().await;
}
