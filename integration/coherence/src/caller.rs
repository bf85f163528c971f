//! A gateway's side of ext_proc, as little as it takes to have requests booked and let go.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use futures_util::stream::{StreamExt, TryStreamExt, iter};
use signalbox_protos::envoy::service::ext_proc::v3 as wire;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};
use wire::external_processor_client::ExternalProcessorClient;
use wire::processing_request::Request as Asked;
use wire::processing_response::Response as Answered;
use wire::{ProcessingRequest, ProcessingResponse};

/// The header by which a picker names the endpoint.
const DESTINATION: &str = "x-gateway-destination-endpoint";

/// A replica that takes longer to answer hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a replica may send ahead on all streams together.
const WINDOW_BYTES: u32 = 1 << 28;

/// Requests that are finished at once.
const FINISHED_AT_ONCE: usize = 32;

/// A connection to one EPP replica.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    client: ExternalProcessorClient<Channel>,
}

/// A request that is booked.
#[derive(Debug)]
pub(crate) struct Booked {
    /// Where it shall go.
    pub(crate) endpoint: SocketAddr,
    /// When the answer came.
    pub(crate) at: Instant,
    to: mpsc::Sender<ProcessingRequest>,
    from: Streaming<ProcessingResponse>,
}

impl Caller {
    /// Connects to the replica at `address`.
    ///
    /// # Errors
    /// When it does not listen.
    pub(crate) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?
            .tcp_nodelay(true)
            .initial_connection_window_size(WINDOW_BYTES);
        let channel = endpoint.connect().await.with_context(|| format!("no replica at {address}"))?;
        Ok(Self { client: ExternalProcessorClient::new(channel) })
    }

    /// Asks where a completion with this body shall go, which books it there.
    ///
    /// # Errors
    /// When the replica refuses or does not answer.
    pub(crate) async fn ask(&self, body: Bytes) -> anyhow::Result<Booked> {
        timeout(PATIENCE, self.ask_now(body)).await.context("the replica does not answer")?
    }

    async fn ask_now(&self, body: Bytes) -> anyhow::Result<Booked> {
        let (to, asked) = mpsc::channel(2);
        to.send(opening()).await?;
        to.send(Asked::RequestBody(wire::HttpBody { body, end_of_stream: true }).into()).await?;
        let mut from = self.client.clone().process(ReceiverStream::new(asked)).await?.into_inner();
        let first = from.message().await?.context("the replica closed the stream")?;
        let at = Instant::now();
        let endpoint = destination(first)?;
        // The body comes back; unread, it would stand in the way of other streams.
        while !ends_body(from.message().await?.context("the replica closed the stream")?) {}
        Ok(Booked { endpoint, at, to, from })
    }
}

impl Booked {
    /// The response came, without a body: the booking ends.
    ///
    /// # Errors
    /// When the replica does not take it.
    pub(crate) async fn finish(mut self) -> anyhow::Result<()> {
        let head = http_headers(&[(":status", "200"), ("content-type", "application/json")], true);
        self.to.send(Asked::ResponseHeaders(head).into()).await?;
        drop(self.to);
        let drained = async {
            while self.from.message().await?.is_some() {}
            anyhow::Ok(())
        };
        timeout(PATIENCE, drained).await.context("the replica does not end the stream")?
    }
}

/// Finishes all of them, a few at a time.
///
/// # Errors
/// As [`Booked::finish`].
pub(crate) async fn finish_all(booked: impl IntoIterator<Item = Booked>) -> anyhow::Result<()> {
    let ends = iter(booked).map(|booked| Ok(booked.finish()));
    ends.try_buffer_unordered(FINISHED_AT_ONCE).try_collect::<Vec<()>>().await?;
    Ok(())
}

fn opening() -> ProcessingRequest {
    let headers = [(":method", "POST"), (":path", "/v1/completions"), ("content-type", "application/json")];
    let modes = wire::ProtocolConfiguration {
        request_body_mode: wire::BodySendMode::FullDuplexStreamed.into(),
        response_body_mode: wire::BodySendMode::FullDuplexStreamed.into(),
    };
    let asked = Asked::RequestHeaders(http_headers(&headers, false));
    ProcessingRequest { protocol_config: Some(modes), ..asked.into() }
}

fn http_headers(headers: &[(&str, &str)], end_of_stream: bool) -> wire::HttpHeaders {
    wire::HttpHeaders { headers: Some(headers.iter().copied().collect()), end_of_stream }
}

/// The endpoint in the first answer of a replica.
fn destination(answer: ProcessingResponse) -> anyhow::Result<SocketAddr> {
    let headers = match answer.response {
        Some(Answered::RequestHeaders(headers)) => headers.response.and_then(|common| common.header_mutation),
        Some(Answered::ImmediateResponse(refusal)) => {
            bail!("refused: {}", String::from_utf8_lossy(&refusal.body))
        }
        other => bail!("the replica begins with {other:?}"),
    };
    let set = headers.unwrap_or_default().set_headers.into_iter().filter_map(|option| option.header);
    let named = set.into_iter().find(|header| header.key == DESTINATION).context("no endpoint is named")?;
    let value = if named.raw_value.is_empty() { named.value.into() } else { named.raw_value };
    Ok(std::str::from_utf8(&value)?.parse()?)
}

fn ends_body(answer: ProcessingResponse) -> bool {
    let Some(Answered::RequestBody(body)) = answer.response else { return false };
    let mutation = body.response.and_then(|common| common.body_mutation?.mutation);
    matches!(mutation, Some(wire::body_mutation::Mutation::StreamedResponse(part)) if part.end_of_stream)
}
