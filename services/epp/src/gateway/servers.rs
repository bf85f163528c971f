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
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use tonic_health::pb::FILE_DESCRIPTOR_SET as HEALTH_DESCRIPTORS;
use tonic_health::pb::health_server::HealthServer;

use super::access_log::AccessLog;
use super::exchange::Exchange;
use super::gateway_connections::GatewayConnections;
use super::health::{DrainPhase, HealthService};
use super::http2_limits;
use crate::deciding::picker::Picker;

/// The ext-proc service.
#[derive(Clone, Debug)]
pub(crate) struct ExtProc {
    pub(crate) picker: Arc<Picker>,
    pub(crate) connections: GatewayConnections,
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
        let open = self.connections.open_stream();
        Ok(Response::new(Exchange::new(Arc::clone(&self.picker), request.into_inner(), open)))
    }
}

/// What the servers for the gateways of all pools share.
#[derive(Clone, Debug)]
pub(crate) struct GatewayServers {
    serving: ServerTls,
    limits: MessageLimits,
    /// The reflection services, whose descriptors are large.
    reflection: Routes,
}

impl GatewayServers {
    pub(crate) fn new(serving: ServerTls, limits: MessageLimits) -> Self {
        Self { serving, limits, reflection: reflection(&[EXT_PROC_DESCRIPTORS, HEALTH_DESCRIPTORS]) }
    }

    /// Serves ext-proc and the health of one pool to gateways, until the port closes and their streams have
    /// ended.
    pub(crate) fn serve(
        &self,
        listener: TcpListener,
        service: ExtProc,
        health: HealthService,
    ) -> JoinHandle<()> {
        let closed = closed(health.phase.clone());
        let incoming = service.connections.accept(self.serving.clone().incoming(listener));
        let process = ExternalProcessorServer::new(service)
            .max_decoding_message_size(self.limits.received_bytes)
            .max_encoding_message_size(self.limits.sent_bytes);
        let routes = self.reflection.clone().add_service(process).add_service(HealthServer::new(health));
        let server = http2_limits::server().add_routes(routes);
        tokio::spawn(log_failure("ext-proc", server.serve_with_incoming_shutdown(incoming, closed)))
    }
}

/// Serves health checks in plaintext.
pub(crate) fn serve_probes(listener: TcpListener, health: HealthService) -> JoinHandle<()> {
    let routes = reflection(&[HEALTH_DESCRIPTORS]).add_service(HealthServer::new(health));
    let server = http2_limits::server().add_routes(routes);
    tokio::spawn(log_failure("health", server.serve_with_incoming(ServerTls::Plaintext.incoming(listener))))
}

/// Serves the access log service to gateways in plaintext.
pub(crate) fn serve_access_log(listener: TcpListener, service: AccessLog) -> JoinHandle<()> {
    let log = http2_limits::server().add_service(AccessLogServiceServer::new(service));
    tokio::spawn(log_failure("access log", log.serve_with_incoming(ServerTls::Plaintext.incoming(listener))))
}

/// Returns gRPC reflection, in both of its versions, for the services in `descriptors`.
fn reflection(descriptors: &[&[u8]]) -> Routes {
    let builder = || {
        let all = tonic_reflection::server::Builder::configure();
        descriptors.iter().fold(all, |all, set| all.register_encoded_file_descriptor_set(set))
    };
    let v1 = builder().build_v1().expect("the build script generates valid descriptors");
    let v1alpha = builder().build_v1alpha().expect("the build script generates valid descriptors");
    Routes::new(v1).add_service(v1alpha)
}

async fn closed(mut phase: watch::Receiver<DrainPhase>) {
    // Without a sender, nobody needs the port any more.
    let _ = phase.wait_for(|phase| *phase == DrainPhase::Closing).await;
}

async fn log_failure(
    service: &'static str,
    server: impl Future<Output = Result<(), tonic::transport::Error>>,
) {
    if let Err(error) = server.await {
        tracing::error!(%error, service, "a gRPC server failed");
    }
}
