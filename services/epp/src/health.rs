//! Whether the replica lives, and whether it is to be asked: gRPC's health service.

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, unfold};
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// The name under which a probe asks whether the process is to be started anew. Under every other name gateways and probes ask whether the
/// replica may be sent requests: `""`, `envoy.service.ext_proc.v3.ExternalProcessor`, `inference-extension`, `readiness`, or what someone
/// has written into a chart, where an unknown name would leave the replica unused.
const LIVENESS: &str = "liveness";

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Liveness,
    Readiness,
}

/// What becomes of those who watch when the replica drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watchers {
    /// They are told, and their streams end: nothing else would end them, and the connections that they are on.
    Leave,
    /// They are told.
    Stay,
}

/// The health service.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) ready: watch::Receiver<bool>,
    pub(crate) draining: watch::Receiver<bool>,
    pub(crate) watchers: Watchers,
}

/// A stream that tells each change.
struct Watch {
    standing: Standing,
    asked: Asked,
    told: Option<ServingStatus>,
}

impl Asked {
    fn of(request: &HealthCheckRequest) -> Self {
        if request.service == LIVENESS { Self::Liveness } else { Self::Readiness }
    }

    /// A replica that waits for its first view, or drains, is not to be asked; starting it anew would make neither faster.
    fn status(self, is_ready: bool, is_draining: bool) -> ServingStatus {
        match self {
            Self::Liveness => ServingStatus::Serving,
            Self::Readiness if is_ready && !is_draining => ServingStatus::Serving,
            Self::Readiness => ServingStatus::NotServing,
        }
    }
}

impl Standing {
    fn status(&self, asked: Asked) -> ServingStatus {
        asked.status(*self.ready.borrow(), *self.draining.borrow())
    }

    fn is_over(&self) -> bool {
        self.watchers == Watchers::Leave && *self.draining.borrow()
    }

    /// Ends when something changes; `None` when nothing will.
    async fn changed(&mut self) -> Option<()> {
        tokio::select! {
            Ok(()) = self.ready.changed() => Some(()),
            changed = self.draining.changed() => changed.ok(),
        }
    }
}

impl Watch {
    async fn next(mut self) -> Option<(Result<HealthCheckResponse, Status>, Self)> {
        loop {
            let status = self.standing.status(self.asked);
            if self.told != Some(status) {
                self.told = Some(status);
                return Some((Ok(HealthCheckResponse { status: status.into() }), self));
            }
            if self.standing.is_over() {
                return None;
            }
            self.standing.changed().await?;
        }
    }
}

#[tonic::async_trait]
impl Health for Standing {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let status = self.status(Asked::of(request.get_ref()));
        Ok(Response::new(HealthCheckResponse { status: status.into() }))
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let watch = Watch { standing: self.clone(), asked: Asked::of(request.get_ref()), told: None };
        Ok(Response::new(unfold(watch, Watch::next).boxed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str) -> Request<HealthCheckRequest> {
        Request::new(HealthCheckRequest { service: name.to_owned() })
    }

    fn standing(watchers: Watchers) -> (watch::Sender<bool>, watch::Sender<bool>, Standing) {
        let ((is_ready, ready), (drains, draining)) = (watch::channel(false), watch::channel(false));
        (is_ready, drains, Standing { ready, draining, watchers })
    }

    #[test]
    fn contract_9_row_14_who_has_no_view_or_drains_lives_and_is_not_to_be_asked() {
        for (ready, draining) in [(false, false), (false, true), (true, true)] {
            assert_eq!(ServingStatus::NotServing, Asked::Readiness.status(ready, draining));
            assert_eq!(ServingStatus::Serving, Asked::Liveness.status(ready, draining));
        }
        assert_eq!(ServingStatus::Serving, Asked::Readiness.status(true, false));
    }

    #[tokio::test]
    async fn contract_9_row_14_every_name_is_answered() {
        let (is_ready, _drains, standing) = standing(Watchers::Stay);
        let names =
            ["", "envoy.service.ext_proc.v3.ExternalProcessor", "inference-extension", "readiness", "some"];
        for (ready, expected) in [(false, ServingStatus::NotServing), (true, ServingStatus::Serving)] {
            is_ready.send_replace(ready);
            for name in names {
                let answer = standing.check(request(name)).await.unwrap().into_inner();
                assert_eq!(expected, answer.status(), "{name}");
            }
            let lives = standing.check(request(LIVENESS)).await.unwrap().into_inner();
            assert_eq!(ServingStatus::Serving, lives.status());
        }
    }

    #[tokio::test]
    async fn who_watches_is_told_each_change_and_leaves_where_the_connection_is_to_end() {
        let (is_ready, drains, standing) = standing(Watchers::Leave);
        let mut watch = standing.watch(request("")).await.unwrap().into_inner();
        let mut lives = standing.watch(request(LIVENESS)).await.unwrap().into_inner();
        let status =
            |told: Option<Result<HealthCheckResponse, Status>>| told.map(|told| told.unwrap().status());
        assert_eq!(Some(ServingStatus::NotServing), status(watch.next().await));
        assert_eq!(Some(ServingStatus::Serving), status(lives.next().await));
        is_ready.send_replace(true);
        assert_eq!(Some(ServingStatus::Serving), status(watch.next().await));
        drains.send_replace(true);
        assert_eq!(Some(ServingStatus::NotServing), status(watch.next().await));
        assert_eq!(None, status(watch.next().await));
        assert_eq!(None, status(lives.next().await));
    }
}
