//! A minimal gateway: an ext-proc client that sends requests and ends them.

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
use wire::processing_request::Request as RequestMessage;
use wire::processing_response::Response as ResponseMessage;
use wire::{ProcessingRequest, ProcessingResponse};

/// The response header that names the endpoint.
const DESTINATION: &str = "x-gateway-destination-endpoint";

/// Time after which a replica counts as hung.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// HTTP/2 connection window: bytes that a replica may send before they are read.
const WINDOW_BYTES: u32 = 1 << 28;

/// Number of requests that are finished concurrently.
const CONCURRENT_FINISHES: usize = 32;

/// A connection to one EPP replica.
#[derive(Clone, Debug)]
pub(crate) struct GatewayClient {
    client: ExternalProcessorClient<Channel>,
}

/// A booked request.
#[derive(Debug)]
pub(crate) struct BookedRequest {
    /// The picked endpoint.
    pub(crate) endpoint: SocketAddr,
    /// Time at which the response with the endpoint arrived.
    pub(crate) routed_at: Instant,
    to: mpsc::Sender<ProcessingRequest>,
    from: Streaming<ProcessingResponse>,
}

impl GatewayClient {
    /// Connects to the replica at `address`.
    ///
    /// # Errors
    /// Fails when the replica does not listen.
    pub(crate) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?
            .tcp_nodelay(true)
            .initial_connection_window_size(WINDOW_BYTES);
        let channel = endpoint
            .connect()
            .await
            .with_context(|| format!("cannot connect to the replica at {address}"))?;
        Ok(Self { client: ExternalProcessorClient::new(channel) })
    }

    /// Sends a completion request with this body. The replica books it at the endpoint that it picks.
    ///
    /// # Errors
    /// Fails when the replica refuses the request or does not respond.
    pub(crate) async fn route(&self, body: Bytes) -> anyhow::Result<BookedRequest> {
        self.route_within(body, RESPONSE_TIMEOUT).await
    }

    /// Like [`Self::route`], for a request that may wait for a place for so long.
    ///
    /// # Errors
    /// Fails like [`Self::route`].
    pub(crate) async fn route_within(&self, body: Bytes, time: Duration) -> anyhow::Result<BookedRequest> {
        let answered = timeout(time, self.route_unbounded(body)).await;
        answered.context("the replica does not respond in time")?
    }

    async fn route_unbounded(&self, body: Bytes) -> anyhow::Result<BookedRequest> {
        let (to, requests) = mpsc::channel(2);
        to.send(request_headers()).await?;
        to.send(RequestMessage::RequestBody(wire::HttpBody { body, end_of_stream: true }).into()).await?;
        let mut from = self.client.clone().process(ReceiverStream::new(requests)).await?.into_inner();
        let first = from.message().await?.context("the replica closed the stream")?;
        let routed_at = Instant::now();
        let endpoint = destination(first)?;
        // Reads the returned body, which would otherwise block the other streams of the connection.
        while !ends_body(from.message().await?.context("the replica closed the stream")?) {}
        Ok(BookedRequest { endpoint, routed_at, to, from })
    }
}

impl BookedRequest {
    /// Reports a response without a body, which ends the booking.
    ///
    /// # Errors
    /// Fails when the replica does not accept it.
    pub(crate) async fn finish(mut self) -> anyhow::Result<()> {
        let head = http_headers(&[(":status", "200"), ("content-type", "application/json")], true);
        self.to.send(RequestMessage::ResponseHeaders(head).into()).await?;
        drop(self.to);
        let drained = async {
            while self.from.message().await?.is_some() {}
            anyhow::Ok(())
        };
        timeout(RESPONSE_TIMEOUT, drained).await.context("the replica does not end the stream in time")?
    }
}

/// Finishes all requests, several concurrently.
///
/// # Errors
/// Fails as [`BookedRequest::finish`] does.
pub(crate) async fn finish_all(booked: impl IntoIterator<Item = BookedRequest>) -> anyhow::Result<()> {
    let ends = iter(booked).map(|booked| Ok(booked.finish()));
    ends.try_buffer_unordered(CONCURRENT_FINISHES).try_collect::<Vec<()>>().await?;
    Ok(())
}

fn request_headers() -> ProcessingRequest {
    let headers = [(":method", "POST"), (":path", "/v1/completions"), ("content-type", "application/json")];
    let modes = wire::ProtocolConfiguration {
        request_body_mode: wire::BodySendMode::FullDuplexStreamed.into(),
        response_body_mode: wire::BodySendMode::FullDuplexStreamed.into(),
    };
    let request = RequestMessage::RequestHeaders(http_headers(&headers, false));
    ProcessingRequest { protocol_config: Some(modes), ..request.into() }
}

fn http_headers(headers: &[(&str, &str)], end_of_stream: bool) -> wire::HttpHeaders {
    wire::HttpHeaders { headers: Some(headers.iter().copied().collect()), end_of_stream }
}

/// Returns the endpoint in the first response of a replica.
fn destination(response: ProcessingResponse) -> anyhow::Result<SocketAddr> {
    let headers = match response.response {
        Some(ResponseMessage::RequestHeaders(headers)) => {
            headers.response.and_then(|common| common.header_mutation)
        }
        Some(ResponseMessage::ImmediateResponse(refusal)) => {
            bail!("the replica refused the request: {}", String::from_utf8_lossy(&refusal.body))
        }
        other => bail!("unexpected first response: {other:?}"),
    };
    let set = headers.unwrap_or_default().set_headers.into_iter().filter_map(|option| option.header);
    let header =
        set.into_iter().find(|header| header.key == DESTINATION).context("the response names no endpoint")?;
    let value = if header.raw_value.is_empty() { header.value.into() } else { header.raw_value };
    Ok(std::str::from_utf8(&value)?.parse()?)
}

fn ends_body(response: ProcessingResponse) -> bool {
    let Some(ResponseMessage::RequestBody(body)) = response.response else { return false };
    let mutation = body.response.and_then(|common| common.body_mutation?.mutation);
    matches!(mutation, Some(wire::body_mutation::Mutation::StreamedResponse(part)) if part.end_of_stream)
}
