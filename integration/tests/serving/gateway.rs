//! A gateway, and others that ask a replica over gRPC.

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

/// Names under which health is asked for.
const NAMES: [&str; 6] = ["", EXT_PROC, "inference-extension", "liveness", "readiness", "some-other-name"];

/// A request that is on its way.
pub(crate) type Open = (mpsc::Sender<ProcessingRequest>, Streaming<ProcessingResponse>);

/// Where a replica listens, as it printed.
pub(crate) fn address(ready: &Value, of: &str) -> anyhow::Result<PeerAddress> {
    let address = ready[of].as_str().with_context(|| format!("no {of} in {ready}"))?;
    address.parse().map_err(|error| anyhow::anyhow!("{error}"))
}

/// A connection as a gateway makes it: over TLS, whatever certificate is shown.
pub(crate) fn gateway(ready: &Value) -> anyhow::Result<Channel> {
    Ok(connect_unverified(&address(ready, "ext_proc")?, |endpoint| endpoint)?)
}

/// A connection without TLS.
pub(crate) async fn plain(ready: &Value, of: &str) -> anyhow::Result<Channel> {
    let address = address(ready, of)?;
    Ok(Channel::from_shared(format!("http://{address}"))?.connect().await?)
}

fn headers() -> ProcessingRequest {
    let headers = [(":method", "POST"), (":path", "/v1/completions")].into_iter().collect();
    Request::RequestHeaders(HttpHeaders { headers: Some(headers), ..HttpHeaders::default() }).into()
}

fn body() -> ProcessingRequest {
    let body = br#"{"model":"llama3-8b","prompt":"Hi"}"#.to_vec().into();
    Request::RequestBody(HttpBody { body, end_of_stream: true }).into()
}

/// A request of a gateway whose body is still on its way.
pub(crate) async fn begin(channel: Channel) -> anyhow::Result<Open> {
    let (messages, requests) = mpsc::channel(2);
    messages.send(headers()).await?;
    let answers = ExternalProcessorClient::new(channel).process(ReceiverStream::new(requests)).await?;
    Ok((messages, answers.into_inner()))
}

/// Sends the body, and expects to hear where the request goes.
pub(crate) async fn finish((messages, mut answers): Open) -> anyhow::Result<()> {
    messages.send(body()).await?;
    let answer = answers.message().await?.context("the stream ended")?.response;
    ensure!(matches!(answer, Some(Response::RequestHeaders(_))), "{answer:?}");
    drop(messages);
    while answers.message().await?.is_some() {}
    Ok(())
}

/// The question after a service's health.
pub(crate) fn asked(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

/// Whether all names are served.
///
/// # Errors
/// When not.
pub(crate) async fn is_served(channel: Channel) -> anyhow::Result<()> {
    let mut health = HealthClient::new(channel);
    for name in NAMES {
        let status = health.check(asked(name)).await?.into_inner().status();
        ensure!(status == ServingStatus::Serving, "{name}: {status:?}");
    }
    Ok(())
}

fn names(services: Vec<ServiceResponse>) -> Vec<String> {
    services.into_iter().map(|service| service.name).collect()
}

/// The services that reflection lists.
pub(crate) async fn listed(channel: Channel) -> anyhow::Result<Vec<String>> {
    let list = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..ServerReflectionRequest::default()
    };
    let mut reflection = ServerReflectionClient::new(channel);
    let answers = reflection.server_reflection_info(tokio_stream::once(list)).await?;
    let answer: ServerReflectionResponse = answers.into_inner().message().await?.context("no answer")?;
    match answer.message_response {
        Some(MessageResponse::ListServicesResponse(list)) => Ok(names(list.service)),
        other => anyhow::bail!("{other:?}"),
    }
}

/// Whether the version before finds the service, as `grpcurl` asks when it describes it.
pub(crate) async fn described(channel: Channel) -> anyhow::Result<bool> {
    use v1alpha::server_reflection_client::ServerReflectionClient;
    use v1alpha::server_reflection_request::MessageRequest;
    use v1alpha::server_reflection_response::MessageResponse;
    let find = v1alpha::ServerReflectionRequest {
        message_request: Some(MessageRequest::FileContainingSymbol(EXT_PROC.to_owned())),
        ..v1alpha::ServerReflectionRequest::default()
    };
    let mut reflection = ServerReflectionClient::new(channel);
    let answers = reflection.server_reflection_info(tokio_stream::once(find)).await?;
    let answer = answers.into_inner().message().await?.context("no answer")?.message_response;
    Ok(matches!(answer, Some(MessageResponse::FileDescriptorResponse(_))))
}
