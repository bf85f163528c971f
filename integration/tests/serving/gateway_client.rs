//! Sends gRPC requests to a replica like a gateway, a probe or `grpcurl`.

use anyhow::{Context, ensure};
use serde_json::Value;
use signalbox_protos::envoy::service::ext_proc::v3::external_processor_client::ExternalProcessorClient;
use signalbox_protos::envoy::service::ext_proc::v3::processing_request::Request;
use signalbox_protos::envoy::service::ext_proc::v3::processing_response::Response;
use signalbox_protos::envoy::service::ext_proc::v3::{
    HttpBody, HttpHeaders, ProcessingRequest, ProcessingResponse,
};
use signalbox_tls::connect_unverified;
use signalbox_types::PeerAddress;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServiceResponse};
use tonic_reflection::pb::{v1::ServerReflectionResponse, v1alpha};

pub(crate) const EXT_PROC: &str = "envoy.service.ext_proc.v3.ExternalProcessor";

/// The service names that health checks use.
const NAMES: [&str; 6] = ["", EXT_PROC, "inference-extension", "liveness", "readiness", "some-other-name"];

/// An open ext-proc stream.
pub(crate) type ExtProcStream = (mpsc::Sender<ProcessingRequest>, Streaming<ProcessingResponse>);

/// Returns an address that the replica printed.
pub(crate) fn address(ready: &Value, of: &str) -> anyhow::Result<PeerAddress> {
    let address = ready[of].as_str().with_context(|| format!("no {of} in {ready}"))?;
    address.parse().map_err(|error| anyhow::anyhow!("{error}"))
}

/// Connects like a gateway: over TLS, without verifying the certificate.
pub(crate) fn connect_gateway(ready: &Value) -> anyhow::Result<Channel> {
    Ok(connect_unverified(&address(ready, "ext_proc")?, |endpoint| endpoint)?)
}

/// Connects without TLS.
pub(crate) async fn connect_plaintext(ready: &Value, of: &str) -> anyhow::Result<Channel> {
    let address = address(ready, of)?;
    Ok(Channel::from_shared(format!("http://{address}"))?.connect().await?)
}

fn headers() -> ProcessingRequest {
    let headers = [(":method", "POST"), (":path", "/v1/completions")].into_iter().collect();
    Request::RequestHeaders(HttpHeaders { headers: Some(headers), ..HttpHeaders::default() }).into()
}

/// Returns the headers of a response without a body.
fn empty_response() -> ProcessingRequest {
    let headers = [(":status", "200")].into_iter().collect();
    let message = HttpHeaders { headers: Some(headers), end_of_stream: true };
    Request::ResponseHeaders(message).into()
}

fn body() -> ProcessingRequest {
    let body = br#"{"model":"llama3-8b","prompt":"Hi"}"#.to_vec().into();
    Request::RequestBody(HttpBody { body, end_of_stream: true }).into()
}

/// Sends the headers of a request and leaves the body open.
pub(crate) async fn start_request(channel: Channel) -> anyhow::Result<ExtProcStream> {
    let (messages, requests) = mpsc::channel(2);
    messages.send(headers()).await?;
    let responses = ExternalProcessorClient::new(channel).process(ReceiverStream::new(requests)).await?;
    Ok((messages, responses.into_inner()))
}

/// Sends the body, checks that the replica answers with a destination, and ends the response.
pub(crate) async fn finish_request(request: ExtProcStream) -> anyhow::Result<()> {
    send_body(&request).await?;
    receive_destination(request).await
}

/// Sends the body.
pub(crate) async fn send_body((messages, _): &ExtProcStream) -> anyhow::Result<()> {
    Ok(messages.send(body()).await?)
}

/// Checks that the replica answers with a destination, and ends the response.
pub(crate) async fn receive_destination((messages, mut responses): ExtProcStream) -> anyhow::Result<()> {
    let response = responses.message().await?.context("the stream ended")?.response;
    ensure!(matches!(response, Some(Response::RequestHeaders(_))), "{response:?}");
    messages.send(empty_response()).await?;
    drop(messages);
    while responses.message().await?.is_some() {}
    Ok(())
}

/// Returns a health check request for a service.
pub(crate) fn health_check(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

/// Checks that all services are healthy.
///
/// # Errors
/// Fails for the first service that is not.
pub(crate) async fn check_serving(channel: Channel) -> anyhow::Result<()> {
    let mut health = HealthClient::new(channel);
    for name in NAMES {
        let status = health.check(health_check(name)).await?.into_inner().status();
        ensure!(status == ServingStatus::Serving, "{name}: {status:?}");
    }
    Ok(())
}

fn names(services: Vec<ServiceResponse>) -> Vec<String> {
    services.into_iter().map(|service| service.name).collect()
}

/// Returns the services that server reflection lists.
pub(crate) async fn listed_services(channel: Channel) -> anyhow::Result<Vec<String>> {
    let list = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..ServerReflectionRequest::default()
    };
    let mut reflection = ServerReflectionClient::new(channel);
    let responses = reflection.server_reflection_info(tokio_stream::once(list)).await?;
    let response: ServerReflectionResponse =
        responses.into_inner().message().await?.context("no response")?;
    match response.message_response {
        Some(MessageResponse::ListServicesResponse(list)) => Ok(names(list.service)),
        other => anyhow::bail!("{other:?}"),
    }
}

/// Returns whether reflection v1alpha, which `grpcurl` uses, describes the ext-proc service.
pub(crate) async fn is_described(channel: Channel) -> anyhow::Result<bool> {
    use v1alpha::server_reflection_client::ServerReflectionClient;
    use v1alpha::server_reflection_request::MessageRequest;
    use v1alpha::server_reflection_response::MessageResponse;
    let find = v1alpha::ServerReflectionRequest {
        message_request: Some(MessageRequest::FileContainingSymbol(EXT_PROC.to_owned())),
        ..v1alpha::ServerReflectionRequest::default()
    };
    let mut reflection = ServerReflectionClient::new(channel);
    let responses = reflection.server_reflection_info(tokio_stream::once(find)).await?;
    let response = responses.into_inner().message().await?.context("no response")?.message_response;
    Ok(matches!(response, Some(MessageResponse::FileDescriptorResponse(_))))
}
