//! gRPC's health service: whether the replica is alive, and whether it accepts requests, for one pool or
//! altogether.

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, unfold};
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// The service name under which a probe asks whether to restart the process. Every other name asks for
/// readiness: gateways and probes use `""`, `envoy.service.ext_proc.v3.ExternalProcessor`,
/// `inference-extension`, `readiness`, or a name from a chart, and an unknown name must not leave the replica
/// unused.
const LIVENESS: &str = "liveness";

/// What a health check asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    Liveness,
    Readiness,
}

/// How far a port is on its way out of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DrainPhase {
    /// It is in service.
    Serving,
    /// It reports not serving, but gateways need time to notice: it still accepts everything.
    Announced,
    /// It accepts nothing new. Watches of the health end, because otherwise they would keep their connections
    /// open.
    Closing,
}

/// The health service.
#[derive(Clone, Debug)]
pub(crate) struct HealthService {
    pub(crate) ready: watch::Receiver<bool>,
    pub(crate) phase: watch::Receiver<DrainPhase>,
}

/// A stream of status changes.
struct Watch {
    service: HealthService,
    probe: Probe,
    last_sent: Option<ServingStatus>,
}

impl Probe {
    fn of(request: &HealthCheckRequest) -> Self {
        if request.service == LIVENESS { Self::Liveness } else { Self::Readiness }
    }

    /// Returns the status. A replica that waits for its first view, or drains, is not ready, but a restart
    /// would not help, so it is alive.
    fn status(self, is_ready: bool, is_draining: bool) -> ServingStatus {
        match self {
            Self::Liveness => ServingStatus::Serving,
            Self::Readiness if is_ready && !is_draining => ServingStatus::Serving,
            Self::Readiness => ServingStatus::NotServing,
        }
    }
}

impl HealthService {
    fn status(&self, probe: Probe) -> ServingStatus {
        probe.status(*self.ready.borrow(), *self.phase.borrow() != DrainPhase::Serving)
    }

    fn ends_watches(&self) -> bool {
        *self.phase.borrow() == DrainPhase::Closing
    }

    /// Waits for the next change; returns `None` if there will be none.
    async fn changed(&mut self) -> Option<()> {
        tokio::select! {
            Ok(()) = self.ready.changed() => Some(()),
            changed = self.phase.changed() => changed.ok(),
        }
    }
}

impl Watch {
    async fn next(mut self) -> Option<(Result<HealthCheckResponse, Status>, Self)> {
        loop {
            let status = self.service.status(self.probe);
            if self.last_sent != Some(status) {
                self.last_sent = Some(status);
                return Some((Ok(HealthCheckResponse { status: status.into() }), self));
            }
            if self.service.ends_watches() {
                return None;
            }
            self.service.changed().await?;
        }
    }
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let status = self.status(Probe::of(request.get_ref()));
        Ok(Response::new(HealthCheckResponse { status: status.into() }))
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let watch = Watch { service: self.clone(), probe: Probe::of(request.get_ref()), last_sent: None };
        Ok(Response::new(unfold(watch, Watch::next).boxed()))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn request(name: &str) -> Request<HealthCheckRequest> {
        Request::new(HealthCheckRequest { service: name.to_owned() })
    }

    fn health_service() -> (watch::Sender<bool>, watch::Sender<DrainPhase>, HealthService) {
        let (set_ready, ready) = watch::channel(false);
        let (set_phase, phase) = watch::channel(DrainPhase::Serving);
        (set_ready, set_phase, HealthService { ready, phase })
    }

    #[test]
    fn contract_9_row_14_replica_without_view_or_draining_is_alive_but_not_ready() {
        for (ready, draining) in [(false, false), (false, true), (true, true)] {
            assert_eq!(ServingStatus::NotServing, Probe::Readiness.status(ready, draining));
            assert_eq!(ServingStatus::Serving, Probe::Liveness.status(ready, draining));
        }
        assert_eq!(ServingStatus::Serving, Probe::Readiness.status(true, false));
    }

    #[tokio::test]
    async fn contract_9_row_14_every_service_name_is_answered() {
        let (set_ready, _set_phase, service) = health_service();
        let names =
            ["", "envoy.service.ext_proc.v3.ExternalProcessor", "inference-extension", "readiness", "some"];
        for (ready, expected) in [(false, ServingStatus::NotServing), (true, ServingStatus::Serving)] {
            set_ready.send_replace(ready);
            for name in names {
                let answer = service.check(request(name)).await.unwrap().into_inner();
                assert_eq!(expected, answer.status(), "{name}");
            }
            let alive = service.check(request(LIVENESS)).await.unwrap().into_inner();
            assert_eq!(ServingStatus::Serving, alive.status());
        }
    }

    #[tokio::test]
    async fn watcher_sees_each_change_and_is_disconnected_when_the_port_closes() {
        let (set_ready, set_phase, service) = health_service();
        let mut watch = service.watch(request("")).await.unwrap().into_inner();
        let mut alive = service.watch(request(LIVENESS)).await.unwrap().into_inner();
        let status =
            |sent: Option<Result<HealthCheckResponse, Status>>| sent.map(|sent| sent.unwrap().status());
        assert_eq!(Some(ServingStatus::NotServing), status(watch.next().await));
        assert_eq!(Some(ServingStatus::Serving), status(alive.next().await));
        set_ready.send_replace(true);
        assert_eq!(Some(ServingStatus::Serving), status(watch.next().await));
        set_phase.send_replace(DrainPhase::Announced);
        assert_eq!(Some(ServingStatus::NotServing), status(watch.next().await));
        assert_eq!(None, watch.next().now_or_never().map(status), "the watch goes on");
        set_phase.send_replace(DrainPhase::Closing);
        assert_eq!(None, status(watch.next().await));
        assert_eq!(None, status(alive.next().await));
    }
}
