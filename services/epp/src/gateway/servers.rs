//! The gRPC servers: ext-proc with health for gateways, health for probes, and the access log service.

use std::sync::Arc;

use signalbox_protos::EXT_PROC_DESCRIPTORS;
use signalbox_protos::envoy::service::accesslog::v3::access_log_service_server::AccessLogServiceServer;
use signalbox_protos::envoy::service::ext_proc::v3::ProcessingRequest;
use signalbox_protos::envoy::service::ext_proc::v3::external_processor_server::{
    ExternalProcessor, ExternalProcessorServer,
};
use signalbox_tls::ServerTls;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::server::Router;
use tonic::{Request, Response, Status, Streaming};
use tonic_health::pb::FILE_DESCRIPTOR_SET as HEALTH_DESCRIPTORS;
use tonic_health::pb::health_server::HealthServer;

use super::access_log::AccessLog;
use super::exchange::Exchange;
use super::health::{HealthService, WatchersOnDrain};
use super::http2_limits;
use crate::deciding::picker::Picker;

/// The ext-proc service.
#[derive(Clone, Debug)]
pub(crate) struct ExtProc {
    pub(crate) picker: Arc<Picker>,
}

/// Maximum sizes of gRPC messages.
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

/// Serves ext-proc and health to gateways until the replica drains and their streams have ended.
pub(crate) fn serve_gateways(
    listener: TcpListener,
    serving: ServerTls,
    service: ExtProc,
    limits: MessageLimits,
    health: HealthService,
) -> JoinHandle<()> {
    let drained = drain_started(health.draining.clone());
    let process = ExternalProcessorServer::new(service)
        .max_decoding_message_size(limits.received_bytes)
        .max_encoding_message_size(limits.sent_bytes);
    let health = HealthServer::new(HealthService { watchers: WatchersOnDrain::Disconnect, ..health });
    let routes = http2_limits::server().add_service(process).add_service(health);
    let routes = with_reflection(routes, &[EXT_PROC_DESCRIPTORS, HEALTH_DESCRIPTORS]);
    let server = routes.serve_with_incoming_shutdown(serving.incoming(listener), drained);
    tokio::spawn(log_failure("ext-proc", server))
}

/// Serves health checks in plaintext.
pub(crate) fn serve_probes(listener: TcpListener, health: HealthService) -> JoinHandle<()> {
    let health = HealthServer::new(HealthService { watchers: WatchersOnDrain::Notify, ..health });
    let routes = with_reflection(http2_limits::server().add_service(health), &[HEALTH_DESCRIPTORS]);
    tokio::spawn(log_failure("health", routes.serve_with_incoming(ServerTls::Plaintext.incoming(listener))))
}

/// Serves the access log service to gateways in plaintext.
pub(crate) fn serve_access_log(listener: TcpListener, picker: Arc<Picker>) -> JoinHandle<()> {
    let log = http2_limits::server().add_service(AccessLogServiceServer::new(AccessLog::new(picker)));
    tokio::spawn(log_failure("access log", log.serve_with_incoming(ServerTls::Plaintext.incoming(listener))))
}

/// Adds gRPC reflection, in both of its versions, for the services in `descriptors`.
fn with_reflection(routes: Router, descriptors: &[&[u8]]) -> Router {
    let builder = || {
        let all = tonic_reflection::server::Builder::configure();
        descriptors.iter().fold(all, |all, set| all.register_encoded_file_descriptor_set(set))
    };
    let v1 = builder().build_v1().expect("the build script generates valid descriptors");
    let v1alpha = builder().build_v1alpha().expect("the build script generates valid descriptors");
    routes.add_service(v1).add_service(v1alpha)
}

async fn drain_started(mut draining: watch::Receiver<bool>) {
    let _ = draining.wait_for(|draining| *draining).await;
}

async fn log_failure(
    service: &'static str,
    server: impl Future<Output = Result<(), tonic::transport::Error>>,
) {
    if let Err(error) = server.await {
        tracing::error!(%error, service, "a gRPC server failed");
    }
}
