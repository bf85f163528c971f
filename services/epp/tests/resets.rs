//! A gateway whose clients go away, all at once.
#![allow(clippy::unwrap_used)] // in a test, a panic is the message

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use signalbox_epp::{EndpointScores, Epp, EppConfig, ExplainTo, PortFlags, SubsetHint};
use signalbox_protos::envoy::config::core::v3::{HeaderMap, HeaderValue};
use signalbox_protos::envoy::service::ext_proc::v3::external_processor_client::ExternalProcessorClient;
use signalbox_protos::envoy::service::ext_proc::v3::processing_request::Request;
use signalbox_protos::envoy::service::ext_proc::v3::processing_response::Response;
use signalbox_protos::envoy::service::ext_proc::v3::{
    HttpBody, HttpHeaders, ProcessingRequest, ProcessingResponse,
};
use signalbox_schedule::Policy;
use signalbox_tls::{Offer, Security, Serving, connect_unverified};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

type Client = ExternalProcessorClient<Channel>;

type Inbound = Streaming<ProcessingResponse>;

const RESETS: usize = 1_000;

/// A replica that has nobody to follow, and so no endpoints.
async fn lonely() -> Epp {
    let config = EppConfig {
        name: "epp".to_owned(),
        pool: None,
        aggregators: Vec::new(),
        coordinator: None,
        lease_ttl: Duration::from_secs(2),
        security: Security::Local,
        serving: Serving::self_signed(&Offer::default()).unwrap(),
        ext_proc: ANY,
        health: ANY,
        access_log: ANY,
        metrics: ANY,
        explain_to: ExplainTo::Loopback,
        body_limit_bytes: 1 << 20,
        buffer_limit_bytes: 1 << 30,
        retry_after_s: 1,
        fallback_endpoints: 0,
        received_message_limit_bytes: EppConfig::message_limit_bytes(1 << 20),
        sent_message_limit_bytes: usize::MAX,
        subset: SubsetHint::Honoured,
        scores: EndpointScores::Hidden,
        drain_timeout: Duration::from_secs(5),
        origin_ttl: Duration::from_secs(3),
        policy: Policy::default(),
        parsers: signalbox_epp::Parsers::default(),
        decisions: 0,
        tracing: None,
    };
    let flags = PortFlags { ext_proc: "", health: "", access_log: "", metrics: "" };
    Epp::start(config, flags).await.unwrap()
}

fn message(request: Request) -> ProcessingRequest {
    ProcessingRequest { request: Some(request), ..ProcessingRequest::default() }
}

fn headers() -> ProcessingRequest {
    let header = |(key, value): (&str, &str)| HeaderValue {
        key: key.to_owned(),
        value: String::new(),
        raw_value: value.as_bytes().to_vec().into(),
    };
    let headers = [(":method", "POST"), (":path", "/v1/completions")].map(header).to_vec();
    let headers = Some(HeaderMap { headers });
    message(Request::RequestHeaders(HttpHeaders { headers, ..HttpHeaders::default() }))
}

fn body() -> ProcessingRequest {
    let body = br#"{"model":"llama","prompt":"Hi"}"#.to_vec().into();
    message(Request::RequestBody(HttpBody { body, end_of_stream: true }))
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
                let epp = lonely().await;
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
    let answer = living.message().await.unwrap().expect("the stream ended").response;
    let Some(Response::ImmediateResponse(refused)) = answer else { panic!("{answer:?}") };
    assert_eq!(Some(503), refused.status.map(|status| status.code));
    // Nothing is left that would hold up the end.
    drop((messages, living, client));
    replica.end().await;
}
