//! One simulated pod: the engine and its task, injected faults, and the metrics page.

mod clock;
mod command;
mod engine_handle;
mod engine_task;
mod faults;
mod histogram;
mod incarnation;
mod metrics_page;
mod snapshot;
mod stored_responses;

use axum::http::HeaderValue;
use tokio_util::sync::CancellationToken;

use crate::config::PodConfig;
pub(crate) use clock::unix_seconds;
pub(crate) use command::{Progress, Stage};
pub(crate) use engine_handle::{PodStopped, RequestHandle, SubmitError};
pub(crate) use faults::FaultOutcome;
pub use faults::{EngineFault, Faults, FaultsError, MetricsFault};
pub(crate) use incarnation::{Incarnation, Incarnations};
pub(crate) use metrics_page::MetricsPage;
pub(crate) use stored_responses::StoredResponse;

/// The state of one pod, shared by all its connections and requests.
pub(crate) struct Pod {
    /// The pod's name as a header value.
    pub(crate) name: HeaderValue,
    pub(crate) config: PodConfig,
    pub(crate) incarnations: Incarnations,
    /// Cancelled when the server stops accepting; ends responses that would otherwise never end.
    pub(crate) draining: CancellationToken,
}

impl Pod {
    /// Replaces the current incarnation by a new one.
    pub(crate) fn restart(&self) {
        self.incarnations.restart(&self.config).expect("the pod has started with this configuration before");
    }
}
