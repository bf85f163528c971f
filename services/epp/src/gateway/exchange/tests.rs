use std::net::{Ipv4Addr, SocketAddr};

use prost_types::value::Kind;
use prost_types::{Struct, Value};
use signalbox_protos::envoy::config::core::v3::Metadata;
use signalbox_protos::envoy::service::ext_proc::v3::external_processor_client::ExternalProcessorClient;
use signalbox_protos::envoy::service::ext_proc::v3::processing_request::Request;
use signalbox_protos::envoy::service::ext_proc::v3::processing_response::Response;
use signalbox_protos::envoy::service::ext_proc::v3::{HttpBody, HttpHeaders};
use signalbox_tls::{ServerTls, TlsParameters, connect_unverified};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

use super::*;
use crate::gateway::gateway_connections::GatewayConnections;
use crate::gateway::health::{DrainPhase, HealthService};
use crate::gateway::servers::{ExtProc, GatewayServers, MessageLimits};
use crate::test_support::{FIRST, SECOND, picker};

/// A gateway's ext-proc stream to a replica with two endpoints.
struct Stream {
    picker: Arc<Picker>,
    messages: mpsc::Sender<ProcessingRequest>,
    answers: Streaming<ProcessingResponse>,
    phase: watch::Sender<DrainPhase>,
    server: tokio::task::JoinHandle<()>,
}

fn headers(headers: &[(&str, &str)], end_of_stream: bool) -> HttpHeaders {
    HttpHeaders { headers: Some(headers.iter().copied().collect()), end_of_stream }
}

/// Returns the metadata by which a gateway names the endpoint that serves the request.
fn served_by(address: &str) -> Metadata {
    let value = Value { kind: Some(Kind::StringValue(address.to_owned())) };
    let fields = [("x-gateway-destination-endpoint-served".to_owned(), value)].into();
    Metadata { filter_metadata: [("envoy.lb".to_owned(), Struct { fields })].into() }
}

impl Stream {
    async fn open() -> Self {
        let picker = Arc::new(picker(&[FIRST, SECOND]));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let ((_, ready), (phase, is_phase)) = (watch::channel(true), watch::channel(DrainPhase::Serving));
        let health = HealthService { ready, phase: is_phase };
        let limits = MessageLimits { received_bytes: 1 << 20, sent_bytes: 1 << 20 };
        let serving = ServerTls::self_signed(&TlsParameters::default()).unwrap();
        let service = ExtProc { picker: Arc::clone(&picker), connections: GatewayConnections::default() };
        let server = GatewayServers::new(serving, limits).serve(listener, service, health);
        let channel = connect_unverified(&address.into(), |endpoint| endpoint).unwrap();
        let (messages, requests) = mpsc::channel(2);
        // The server sees the stream only after its first message.
        let get = headers(&[(":method", "GET"), (":path", "/v1/models")], true);
        messages.send(Request::RequestHeaders(get).into()).await.unwrap();
        let mut client = ExternalProcessorClient::new(channel);
        let answers = client.process(ReceiverStream::new(requests)).await.unwrap().into_inner();
        Self { picker, messages, answers, phase, server }
    }

    /// Returns the destination in the next answer to the gateway, if it has one.
    async fn answer(&mut self) -> Option<String> {
        let answer = self.answers.message().await.unwrap().unwrap().response.unwrap();
        let Response::RequestHeaders(headers) = answer else { return None };
        let set = headers.response?.header_mutation?.set_headers;
        let header = set.into_iter().filter_map(|option| option.header);
        let mut header = header.filter(|header| header.key == "x-gateway-destination-endpoint");
        Some(String::from_utf8(header.next()?.raw_value.to_vec()).unwrap())
    }

    async fn send(&mut self, message: ProcessingRequest) -> Option<String> {
        self.messages.send(message).await.unwrap();
        self.answer().await
    }

    /// Returns the addresses of the endpoints with bookings.
    fn booked_endpoints(&self) -> Vec<String> {
        let snapshot = self.picker.snapshot.load();
        let address =
            |key| snapshot.view.endpoints.iter().find(|member| member.key == key).unwrap().spec.address;
        self.picker.bookings.loads().into_iter().map(|(key, _)| address(key).to_string()).collect()
    }

    async fn close(self) {
        drop((self.messages, self.answers));
        self.phase.send_replace(DrainPhase::Closing);
        self.server.await.unwrap();
        assert!(self.picker.bookings.loads().is_empty());
        assert_eq!(0, self.picker.metrics.open_streams.get());
    }
}

#[tokio::test]
async fn booking_moves_to_the_endpoint_that_serves() {
    let mut stream = Stream::open().await;
    let picked = stream.answer().await.unwrap();
    assert_eq!(stream.booked_endpoints(), [&picked[..]]);
    let other = if picked == FIRST { SECOND } else { FIRST };
    for address in [&picked[..], "10.9.9.9:80"] {
        let response = Request::ResponseHeaders(headers(&[(":status", "200")], false));
        stream
            .send(ProcessingRequest { metadata_context: Some(served_by(address)), ..response.into() })
            .await;
        assert_eq!(stream.booked_endpoints(), [&picked[..]], "{address} must not move the booking");
    }
    let body = Request::ResponseBody(HttpBody { body: "x".into(), end_of_stream: false });
    stream.send(ProcessingRequest { metadata_context: Some(served_by(other)), ..body.into() }).await;
    assert_eq!(stream.booked_endpoints(), [other]);
    assert_eq!(1, stream.picker.metrics.requests_served_elsewhere.get());
    let end = Request::ResponseBody(HttpBody { body: "y".into(), end_of_stream: true });
    stream.send(end.into()).await;
    assert!(stream.booked_endpoints().is_empty());
    stream.close().await;
}

#[tokio::test]
async fn disconnecting_client_leaves_no_booking() {
    let mut stream = Stream::open().await;
    stream.answer().await.unwrap();
    stream.close().await;
}

mod polled_streams;
mod revoking;
mod served_requests;
mod stored_responses;
mod waiting;
