//! Answers requests to the metrics APIs of Kubernetes, `custom.metrics.k8s.io` and `external.metrics.k8s.io`, as an
//! aggregated API server does.
//!
//! - [`answer`]: from a request to a response, out of what [`Metrics`] knows of each pool
//! - [`identify`]: who sent a request that came through the API server's front proxy, or directly
//! - [`Attributes`]: what a request asks to be allowed to do
//!
//! The autoscaler does not look at the age of a value, and takes an error as a reason to keep everything as it is.
//! So whatever is not known well is an error here: never zero, and never an empty list.

mod answer;
mod attributes;
mod discovery;
mod failure;
mod identity;
mod metrics;
mod quantity;
mod selector;
mod target;
mod values;

pub use answer::{Answer, answer};
pub use attributes::Attributes;
pub use failure::Failure;
pub use identity::{Certificate, Identification, RequestHeaderNames, User, identify};
pub use metrics::{IsSelected, Metrics, NoReading, Reading};
pub use selector::{Selector, SelectorError};
