//! The gRPC services and their servers: ext-proc for gateways, health, and access logs.

use std::sync::Arc;

use signalbox_protos::EXT_PROC_DESCRIPTORS;
use signalbox_protos::envoy::service::accesslog::v3::access_log_service_server::AccessLogServiceServer;
use signalbox_protos::envoy::service::ext_proc::v3::ProcessingRequest;
use signalbox_protos::envoy::service::ext_proc::v3::external_processor_server::{
    ExternalProcessor, ExternalProcessorServer,
};
use signalbox_tls::Serving;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::server::Router;
use tonic::{Request, Response, Status, Streaming};
use tonic_health::pb::FILE_DESCRIPTOR_SET as HEALTH_DESCRIPTORS;
use tonic_health::pb::health_server::HealthServer;

use crate::access_log::AccessLog;
use crate::exchange::Exchange;
use crate::health::{Standing, Watchers};
use crate::http2;
use crate::picker::Picker;

/// The ext-proc service.
#[derive(Clone, Debug)]
pub(crate) struct ExtProc {
    pub(crate) picker: Arc<Picker>,
}

/// The longest messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageLimits {
    pub(crate) received_bytes: usize,
    pub(crate) sent_bytes: usize,
}

#[tonic::async_trait]
impl ExternalProcessor for ExtProc {
    type ProcessStream = Exchange;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Exchange>, Status> {
        Ok(Response::new(Exchange::new(Arc::clone(&self.picker), request.into_inner())))
    }
}

/// Serves gateways, with health beside, until the replica drains and their streams have ended.
pub(crate) fn serve_gateways(
    listener: TcpListener,
    serving: Serving,
    service: ExtProc,
    limits: MessageLimits,
    standing: Standing,
) -> JoinHandle<()> {
    let drained = until(standing.draining.clone());
    let process = ExternalProcessorServer::new(service)
        .max_decoding_message_size(limits.received_bytes)
        .max_encoding_message_size(limits.sent_bytes);
    let health = HealthServer::new(Standing { watchers: Watchers::Leave, ..standing });
    let routes = http2::server().add_service(process).add_service(health);
    let routes = reflected(routes, &[EXT_PROC_DESCRIPTORS, HEALTH_DESCRIPTORS]);
    let server = routes.serve_with_incoming_shutdown(serving.incoming(listener), drained);
    tokio::spawn(logged("gateways", server))
}

/// Serves those who ask for the replica's health, in plaintext.
pub(crate) fn serve_probes(listener: TcpListener, standing: Standing) -> JoinHandle<()> {
    let health = HealthServer::new(Standing { watchers: Watchers::Stay, ..standing });
    let routes = reflected(http2::server().add_service(health), &[HEALTH_DESCRIPTORS]);
    tokio::spawn(logged("probes", routes.serve_with_incoming(Serving::Plaintext.incoming(listener))))
}

/// Serves gateways that tell of the ends of requests, in plaintext.
pub(crate) fn serve_access_log(listener: TcpListener, picker: Arc<Picker>) -> JoinHandle<()> {
    let log = http2::server().add_service(AccessLogServiceServer::new(AccessLog::new(picker)));
    tokio::spawn(logged("access logs", log.serve_with_incoming(Serving::Plaintext.incoming(listener))))
}

/// With reflection over services that are described so, in both of its versions.
fn reflected(routes: Router, descriptors: &[&[u8]]) -> Router {
    let described = || {
        let all = tonic_reflection::server::Builder::configure();
        descriptors.iter().fold(all, |all, set| all.register_encoded_file_descriptor_set(set))
    };
    let latest = described().build_v1().expect("the build made the descriptors");
    let before = described().build_v1alpha().expect("the build made the descriptors");
    routes.add_service(latest).add_service(before)
}

async fn until(mut draining: watch::Receiver<bool>) {
    let _ = draining.wait_for(|draining| *draining).await;
}

async fn logged(whom: &'static str, server: impl Future<Output = Result<(), tonic::transport::Error>>) {
    if let Err(error) = server.await {
        tracing::error!(%error, whom, "served no more");
    }
}
