use std::net::{Ipv4Addr, SocketAddr};

use prost_types::value::Kind;
use prost_types::{Struct, Value};
use signalbox_protos::envoy::config::core::v3::Metadata;
use signalbox_protos::envoy::service::ext_proc::v3::external_processor_client::ExternalProcessorClient;
use signalbox_protos::envoy::service::ext_proc::v3::processing_request::Request;
use signalbox_protos::envoy::service::ext_proc::v3::processing_response::Response;
use signalbox_protos::envoy::service::ext_proc::v3::{HttpBody, HttpHeaders};
use signalbox_tls::{Offer, Serving, connect_unverified};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

use super::*;
use crate::health::{Standing, Watchers};
use crate::serve::{ExtProc, MessageLimits, serve_gateways};
use crate::staged::{FIRST, SECOND, picker};

/// A gateway's stream to a replica that sees two endpoints.
struct Stream {
    picker: Arc<Picker>,
    messages: mpsc::Sender<ProcessingRequest>,
    answers: Streaming<ProcessingResponse>,
    drain: watch::Sender<bool>,
    server: tokio::task::JoinHandle<()>,
}

fn headers(headers: &[(&str, &str)], end_of_stream: bool) -> HttpHeaders {
    HttpHeaders { headers: Some(headers.iter().copied().collect()), end_of_stream }
}

/// What a gateway tells of who has served.
fn served(address: &str) -> Metadata {
    let value = Value { kind: Some(Kind::StringValue(address.to_owned())) };
    let fields = [("x-gateway-destination-endpoint-served".to_owned(), value)].into();
    Metadata { filter_metadata: [("envoy.lb".to_owned(), Struct { fields })].into() }
}

impl Stream {
    async fn open() -> Self {
        let picker = Arc::new(picker(&[FIRST, SECOND]));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let ((_, ready), (drain, draining)) = (watch::channel(true), watch::channel(false));
        let standing = Standing { ready, draining, watchers: Watchers::Leave };
        let limits = MessageLimits { received_bytes: 1 << 20, sent_bytes: 1 << 20 };
        let serving = Serving::self_signed(&Offer::default()).unwrap();
        let service = ExtProc { picker: Arc::clone(&picker) };
        let server = serve_gateways(listener, serving, service, limits, standing);
        let channel = connect_unverified(&address.into(), |endpoint| endpoint).unwrap();
        let (messages, requests) = mpsc::channel(2);
        // A stream begins with its first message.
        let get = headers(&[(":method", "GET"), (":path", "/v1/models")], true);
        messages.send(Request::RequestHeaders(get).into()).await.unwrap();
        let mut client = ExternalProcessorClient::new(channel);
        let answers = client.process(ReceiverStream::new(requests)).await.unwrap().into_inner();
        Self { picker, messages, answers, drain, server }
    }

    /// What the gateway is told; where the request goes, if that is it.
    async fn answer(&mut self) -> Option<String> {
        let answer = self.answers.message().await.unwrap().unwrap().response.unwrap();
        let Response::RequestHeaders(headers) = answer else { return None };
        let set = headers.response?.header_mutation?.set_headers;
        let header = set.into_iter().filter_map(|option| option.header);
        let mut header = header.filter(|header| header.key == "x-gateway-destination-endpoint");
        Some(String::from_utf8(header.next()?.raw_value.to_vec()).unwrap())
    }

    async fn say(&mut self, message: ProcessingRequest) -> Option<String> {
        self.messages.send(message).await.unwrap();
        self.answer().await
    }

    /// Where there are bookings.
    fn booked(&self) -> Vec<String> {
        let snapshot = self.picker.snapshot.load();
        let address =
            |key| snapshot.view.endpoints.iter().find(|member| member.key == key).unwrap().spec.address;
        self.picker.bookings.whole().into_iter().map(|(key, _)| address(key).to_string()).collect()
    }

    async fn close(self) {
        drop((self.messages, self.answers));
        self.drain.send_replace(true);
        self.server.await.unwrap();
        assert!(self.picker.bookings.whole().is_empty());
        assert_eq!(0, self.picker.metrics.streams.get());
    }
}

#[tokio::test]
async fn a_booking_moves_to_the_endpoint_that_serves() {
    let mut stream = Stream::open().await;
    let picked = stream.answer().await.unwrap();
    assert_eq!(stream.booked(), [&picked[..]]);
    let other = if picked == FIRST { SECOND } else { FIRST };
    for address in [&picked[..], "10.9.9.9:80"] {
        let response = Request::ResponseHeaders(headers(&[(":status", "200")], false));
        stream.say(ProcessingRequest { metadata_context: Some(served(address)), ..response.into() }).await;
        assert_eq!(stream.booked(), [&picked[..]], "{address} moves nothing");
    }
    let body = Request::ResponseBody(HttpBody { body: "x".into(), end_of_stream: false });
    stream.say(ProcessingRequest { metadata_context: Some(served(other)), ..body.into() }).await;
    assert_eq!(stream.booked(), [other]);
    assert_eq!(1, stream.picker.metrics.served_elsewhere.get());
    let end = Request::ResponseBody(HttpBody { body: "y".into(), end_of_stream: true });
    stream.say(end.into()).await;
    assert!(stream.booked().is_empty());
    stream.close().await;
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_no_booking() {
    let mut stream = Stream::open().await;
    stream.answer().await.unwrap();
    stream.close().await;
}
