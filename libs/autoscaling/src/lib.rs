//! Serves the autoscaling signals of pools to the autoscalers of Kubernetes.
//!
//! - [`Keda`]: the gRPC service that KEDA calls an external scaler
//! - [`MetricsApi`]: the aggregated API server that the HorizontalPodAutoscaler (HPA) reads
//!
//! Both answer from memory, out of the [`Signals`] that every aggregator holds. So any aggregator can be asked, all answer
//! alike, and no question reaches the owner of a pool.

mod keda;
mod metrics_api;
mod query;
mod signals;
#[cfg(test)]
mod test_support;

pub use keda::Keda;
pub use metrics_api::{AccessReviews, MetricsApi, MetricsApiSettings};
pub use signals::{Latest, SignalChanges, Signals};
