//! Exchanges that the test polls itself, instead of a connection.

use futures_util::{StreamExt, poll};
use signalbox_intake::Delivery;
use signalbox_protos::envoy::service::ext_proc::v3::external_processor_server::{
    ExternalProcessor, ExternalProcessorServer,
};
use signalbox_protos::envoy::service::ext_proc::v3::{BodySendMode, HttpTrailers, ProtocolConfiguration};
use signalbox_schedule::Policy;
use signalbox_state::{Pool, ResponseOutcome, ResponseReport, ScrapeStatus};
use signalbox_types::Load;
use tonic::{Request as Call, Response as Answer};

use super::*;
use crate::deciding::picker::{FeedbackEvent, FeedbackReceivers};
use crate::test_support::{picker_with_feedback, pool};

/// A service that hands the gateway's messages over to the test and never answers.
#[derive(Clone)]
struct HandOver(mpsc::Sender<Streaming<ProcessingRequest>>);

#[tonic::async_trait]
impl ExternalProcessor for HandOver {
    type ProcessStream = tokio_stream::Pending<Result<ProcessingResponse, Status>>;

    async fn process(
        &self,
        call: Call<Streaming<ProcessingRequest>>,
    ) -> Result<Answer<Self::ProcessStream>, Status> {
        self.0.send(call.into_inner()).await.unwrap();
        Ok(Answer::new(tokio_stream::pending()))
    }
}

/// An exchange, the gateway's side of its stream, and what it reports to the pool's owner.
pub(super) struct Polled {
    pub(super) exchange: Exchange,
    pub(super) picker: Arc<Picker>,
    pub(super) feedback: FeedbackReceivers,
    pub(super) messages: Option<mpsc::Sender<ProcessingRequest>>,
    _answers: Streaming<ProcessingResponse>,
}

const POST: [(&str, &str); 2] = [(":method", "POST"), (":path", "/v1/completions")];
const FAILED: &str = "failed";
const OUTPUT: &str = "first output";

pub(super) const ROLE: &str = "data: {\"choices\":[{\"text\":\"\"}]}\n\n";
pub(super) const TEXT: &str = "data: {\"choices\":[{\"text\":\"a\"}]}\n\n";
pub(super) const ERROR: &str = "data: {\"error\":{\"code\":503}}\n\n";

impl Polled {
    /// Opens a stream with a streamed request of `prompt_bytes`. The gateway announces how it sends the
    /// response's body, if a mode is given.
    pub(super) async fn open(response_mode: Option<BodySendMode>, prompt_bytes: usize) -> Self {
        Self::open_for(&pool(&[FIRST], ScrapeStatus::Unknown), response_mode, prompt_bytes).await
    }

    /// Opens a stream to a replica that serves `pool`.
    pub(super) async fn open_for(
        pool: &Pool,
        response_mode: Option<BodySendMode>,
        prompt_bytes: usize,
    ) -> Self {
        let body = format!(r#"{{"model":"m","prompt":"{}","stream":true}}"#, "x".repeat(prompt_bytes));
        Self::open_with(pool, response_mode, &POST, body).await
    }

    /// Opens a stream with this request to a replica that serves `pool`.
    pub(super) async fn open_with(
        pool: &Pool,
        response_mode: Option<BodySendMode>,
        request: &[(&str, &str)],
        body: String,
    ) -> Self {
        let (picker, feedback) = picker_with_feedback(pool, Policy::default());
        let picker = Arc::new(picker);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let (streams, mut opened) = mpsc::channel(1);
        let service = ExternalProcessorServer::new(HandOver(streams));
        let server = tonic::transport::Server::builder().add_service(service);
        let serving = ServerTls::self_signed(&TlsParameters::default()).unwrap();
        tokio::spawn(server.serve_with_incoming(serving.incoming(listener)));
        let channel = connect_unverified(&address.into(), |endpoint| endpoint).unwrap();
        let (messages, requests) = mpsc::channel(8);
        let protocol_config = response_mode.map(|mode| ProtocolConfiguration {
            request_body_mode: BodySendMode::FullDuplexStreamed.into(),
            response_body_mode: mode.into(),
        });
        let first = Request::RequestHeaders(headers(request, false));
        messages.send(ProcessingRequest { protocol_config, ..first.into() }).await.unwrap();
        let body = Request::RequestBody(HttpBody { body: body.into(), end_of_stream: true });
        messages.send(body.into()).await.unwrap();
        let mut client = ExternalProcessorClient::new(channel);
        let answers = client.process(ReceiverStream::new(requests)).await.unwrap().into_inner();
        let open = GatewayConnections::default().open_stream();
        let exchange = Exchange::new(Arc::clone(&picker), opened.recv().await.unwrap(), open);
        Self { exchange, picker, feedback, messages: Some(messages), _answers: answers }
    }

    /// Takes the next answer.
    pub(super) async fn take_answer(&mut self) {
        self.exchange.next().await.unwrap().unwrap();
    }

    /// Sends a message and takes the answer to it.
    async fn exchange_message(&mut self, message: Request) {
        self.messages.as_ref().unwrap().send(message.into()).await.unwrap();
        self.take_answer().await;
    }

    /// Sends the response's headers with `status` and these pieces of its body.
    pub(super) async fn respond(&mut self, status: &str, pieces: &[&'static str]) {
        let content = ("content-type", "text/event-stream");
        self.exchange_message(Request::ResponseHeaders(headers(&[(":status", status), content], false)))
            .await;
        for piece in pieces {
            let body = HttpBody { body: (*piece).into(), end_of_stream: false };
            self.exchange_message(Request::ResponseBody(body)).await;
        }
    }

    fn load(&self) -> Load {
        self.picker.bookings.loads().first().map(|(_, load)| *load).unwrap_or_default()
    }

    /// Returns the outcomes that were reported since the last call.
    fn outcomes(&mut self) -> Vec<&'static str> {
        let events = std::iter::from_fn(|| self.feedback.events.try_recv().ok());
        let outcome = |event| match event {
            FeedbackEvent::Response(ResponseReport { outcome: ResponseOutcome::Failed, .. }) => Some(FAILED),
            FeedbackEvent::Response(ResponseReport { outcome: ResponseOutcome::FirstOutput, .. }) => {
                Some(OUTPUT)
            }
            _ => None,
        };
        events.filter_map(outcome).collect()
    }

    /// Drops the exchange; returns the picker.
    fn close(self) -> Arc<Picker> {
        drop(self.exchange);
        self.picker
    }
}

#[tokio::test]
async fn prefill_is_released_only_by_output_of_a_success() {
    for (status, pieces, is_released) in [
        ("200", &[ROLE, TEXT][..], true),
        ("200", &[ROLE, ": ping\n\n", "data: [DONE]\n\n"], false),
        ("200", &[ERROR, TEXT], false),
        ("404", &[TEXT], false),
        ("400", &[ROLE, TEXT], false),
        ("503", &[TEXT], false),
    ] {
        let mut polled = Polled::open(Some(BodySendMode::FullDuplexStreamed), 8_000).await;
        polled.take_answer().await;
        polled.take_answer().await;
        assert_eq!((1, 1), (polled.load().requests, polled.load().prefills));
        polled.respond(status, pieces).await;
        assert_eq!(
            (1, u32::from(!is_released)),
            (polled.load().requests, polled.load().prefills),
            "{status}"
        );
        let picker = polled.close();
        assert!(picker.bookings.loads().is_empty());
    }
}

#[tokio::test]
async fn only_output_of_a_success_is_reported_as_success() {
    for (status, pieces, expected) in [
        ("200", &[ROLE][..], &[][..]),
        ("200", &[ROLE, TEXT, TEXT], &[OUTPUT]),
        ("200", &[ROLE, ERROR, TEXT], &[FAILED]),
        ("200", &[": ping\n\n", "data: {\"error\":{\"code\":400}}\n\n", TEXT], &[]),
        ("400", &[TEXT], &[]),
        ("429", &[TEXT], &[]),
        ("503", &[TEXT], &[FAILED]),
        ("", &[ROLE, TEXT], &[]),
    ] {
        let mut polled = Polled::open(Some(BodySendMode::FullDuplexStreamed), 8_000).await;
        polled.take_answer().await;
        polled.take_answer().await;
        polled.respond(status, pieces).await;
        assert_eq!(polled.outcomes(), expected, "{status} {pieces:?}");
        polled.exchange_message(Request::ResponseTrailers(HttpTrailers::default())).await;
        assert!(polled.outcomes().is_empty(), "{status} {pieces:?} at the end");
    }
}

#[tokio::test]
async fn success_whose_body_is_hidden_is_reported_at_its_end() {
    let mut polled = Polled::open(Some(BodySendMode::None), 10).await;
    polled.take_answer().await;
    polled.take_answer().await;
    polled.respond("200", &[]).await;
    assert!(polled.outcomes().is_empty());
    polled.exchange_message(Request::ResponseTrailers(HttpTrailers::default())).await;
    assert_eq!(polled.outcomes(), [OUTPUT]);
}

#[tokio::test]
async fn stream_that_closes_before_it_took_all_answers_did_not_wait_for_the_response() {
    let mut polled = Polled::open(Some(BodySendMode::None), 200_000).await;
    let chunks_left = 4;
    polled.take_answer().await;
    assert_eq!(chunks_left, polled.exchange.replies.len());
    // The connection took the first answer long ago, and is slow to take the prompt.
    polled.exchange.answered_at = Some(Instant::now() - 2 * END_SEEN_AFTER);
    assert_eq!(Delivery::Streamed, polled.exchange.booked.as_ref().unwrap().delivery);
    let picker = polled.close();
    assert_eq!((1, 1), (picker.detached.count(), picker.bookings.loads().len()));
}

#[tokio::test]
async fn wait_for_the_response_begins_when_the_last_answer_is_taken() {
    for (waits_long, detached) in [(false, 1), (true, 0)] {
        let mut polled = Polled::open(Some(BodySendMode::None), 200_000).await;
        let begin = Instant::now();
        for _ in 0..5 {
            polled.take_answer().await;
        }
        let answered_at = polled.exchange.answered_at.as_mut().unwrap();
        assert!(*answered_at >= begin);
        // A busy machine may be slow between the answer and the end.
        *answered_at =
            if waits_long { *answered_at - END_SEEN_AFTER } else { Instant::now() + END_SEEN_AFTER };
        let picker = polled.close();
        assert_eq!((detached, detached), (picker.detached.count(), picker.bookings.loads().len()));
    }
}

#[tokio::test]
async fn half_closed_stream_keeps_its_booking_until_it_is_dropped() {
    let mut polled = Polled::open(Some(BodySendMode::FullDuplexStreamed), 10).await;
    polled.messages = None;
    polled.take_answer().await;
    polled.take_answer().await;
    while polled.exchange.state != State::HalfClosed {
        assert!(poll!(polled.exchange.next()).is_pending(), "the exchange ends");
        tokio::task::yield_now().await;
    }
    assert_eq!(1, polled.load().requests);
    let picker = polled.close();
    assert!(picker.bookings.loads().is_empty());
    assert_eq!(0, picker.detached.count());
}

#[tokio::test]
async fn half_closed_stream_ends_when_its_response_has_ended() {
    let mut polled = Polled::open(Some(BodySendMode::FullDuplexStreamed), 10).await;
    polled.take_answer().await;
    polled.take_answer().await;
    polled.respond("200", &[ROLE, TEXT]).await;
    let end = Request::ResponseBody(HttpBody { body: "".into(), end_of_stream: true });
    polled.exchange_message(end).await;
    polled.messages = None;
    assert!(polled.exchange.next().await.is_none());
    assert_eq!(Load::ZERO, polled.load());
}

#[tokio::test]
async fn hidden_response_of_a_half_closed_stream_is_detached() {
    for response_mode in [None, Some(BodySendMode::None)] {
        let mut polled = Polled::open(response_mode, 10).await;
        polled.messages = None;
        polled.take_answer().await;
        polled.take_answer().await;
        assert!(polled.exchange.next().await.is_none(), "the gateway may wait for the end of the stream");
        polled.exchange.answered_at = Some(Instant::now());
        let picker = polled.close();
        assert_eq!((1, 1), (picker.detached.count(), picker.bookings.loads().len()), "{response_mode:?}");
    }
}

/// A response in one piece begins when it is complete. Until then, its prompt would keep the endpoint full.
#[tokio::test]
async fn prompt_counts_until_it_should_be_processed_or_output_shows_it() {
    for (stream, prefills_after) in [(false, 0), (true, 1)] {
        let body = format!(r#"{{"model":"m","prompt":"{}","stream":{stream}}}"#, "x".repeat(400));
        let mut polled = Polled::open_with(&pool(&[FIRST], ScrapeStatus::Unknown), None, &POST, body).await;
        polled.take_answer().await;
        polled.take_answer().await;
        let load = |polled: &Polled| polled.picker.bookings.loads()[0].1;
        assert_eq!((1, 1), (load(&polled).requests, load(&polled).prefills));
        let booked = polled.exchange.booked.as_ref().unwrap();
        let expected = booked.booked_at + booked.expected_prefill;
        // A timer that is set later for the same time is due no earlier.
        sleep_until((expected + Duration::from_millis(2)).into()).await;
        assert!(poll!(polled.exchange.next()).is_pending());
        assert_eq!((1, prefills_after), (load(&polled).requests, load(&polled).prefills), "stream: {stream}");
    }
}
