//! What the end-to-end tests are made of: real processes on free ports, guarded so that nothing outlives its test.
//!
//! [`Site`] is the whole line as it stands in production: model servers, an aggregator, a collector, EPP replicas, and
//! Envoy in front. All waiting is for a condition, by [`eventually`].

mod authority;
mod client;
mod endpoints;
mod envoy;
mod epp;
mod etcd;
mod fleet;
mod metrics;
mod pod;
mod ports;
mod process;
mod prompt;
mod scratch;
mod service;
mod site;
mod wait;

pub use authority::Authority;
pub use client::{Answer, Client, Upload};
pub use endpoints::{write_endpoints, write_pool};
pub use envoy::{Envoy, PICKED_HEADER, RequestMode, ResponseMode, envoy_binary};
pub use epp::Epp;
pub use etcd::{Certificates, Etcd, Transport};
pub use fleet::Fleet;
pub use metrics::Page;
pub use pod::{Pod, PodConfig};
pub use ports::Ports;
pub use process::{Process, Signal, built};
pub use prompt::{Ask, Delivery, MODEL, text};
pub use scratch::Scratch;
pub use service::Service;
pub use site::{Site, SiteConfig};
pub use wait::eventually;
