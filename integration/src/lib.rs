//! What the end-to-end tests are made of: real processes on free ports, guarded so that nothing outlives its test.
//!
//! [`Site`] is the whole line as it stands in production: model servers, an aggregator, a collector, EPP replicas, and
//! Envoy in front. All waiting is for a condition, by [`eventually`].

mod client;
mod endpoints;
mod envoy;
mod epp;
mod etcd;
mod metrics;
mod pod;
mod process;
mod prompt;
mod scratch;
mod site;
mod wait;

pub use client::{Answer, Client, Upload};
pub use endpoints::write_endpoints;
pub use envoy::{Envoy, PICKED_HEADER, ResponseMode};
pub use epp::Epp;
pub use etcd::{Certificates, Etcd, Transport};
pub use metrics::Page;
pub use pod::{Pod, PodConfig};
pub use process::{Process, Signal, built};
pub use prompt::{Ask, Delivery, MODEL};
pub use scratch::Scratch;
pub use site::{Site, SiteConfig};
pub use wait::eventually;
