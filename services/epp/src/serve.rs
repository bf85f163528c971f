//! The gRPC services: ext-proc for gateways, and health.

use std::sync::Arc;

use signalbox_protos::envoy::service::ext_proc::v3::ProcessingRequest;
use signalbox_protos::envoy::service::ext_proc::v3::external_processor_server::ExternalProcessor;
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::desk::Desk;
use crate::exchange::Exchange;

/// Names under which gateways and probes ask for the replica's health.
const HEALTH_NAMES: [&str; 5] =
    ["", "envoy.service.ext_proc.v3.ExternalProcessor", "inference-extension", "liveness", "readiness"];

/// The ext-proc service.
#[derive(Clone, Debug)]
pub(crate) struct ExtProc {
    pub(crate) desk: Arc<Desk>,
}

#[tonic::async_trait]
impl ExternalProcessor for ExtProc {
    type ProcessStream = Exchange;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Exchange>, Status> {
        Ok(Response::new(Exchange::new(Arc::clone(&self.desk), request.into_inner())))
    }
}

/// Reports the replica as serving while it has a view and is not draining. Ends with `draining`.
pub(crate) async fn report_health(
    reporter: HealthReporter,
    mut ready: watch::Receiver<bool>,
    mut draining: watch::Receiver<bool>,
) {
    set_all(&reporter, ServingStatus::NotServing).await;
    let has_view = async { ready.wait_for(|ready| *ready).await.is_ok() };
    let drained = async { draining.clone().wait_for(|draining| *draining).await.is_ok() };
    tokio::select! {
        _ = has_view => set_all(&reporter, ServingStatus::Serving).await,
        _ = drained => return,
    }
    let _ = draining.wait_for(|draining| *draining).await;
    set_all(&reporter, ServingStatus::NotServing).await;
}

async fn set_all(reporter: &HealthReporter, status: ServingStatus) {
    for name in HEALTH_NAMES {
        reporter.set_service_status(name, status).await;
    }
}
