//! Starts and stops the processes of a test: the services, model servers, Envoy and etcd.

mod envoy;
mod epp;
mod etcd;
mod fleet;
mod gateway_replica;
mod pod;
mod process;
mod service;

pub(crate) use envoy::GATEWAY_THREADS;
pub use envoy::{Envoy, PICKED_HEADER, RequestMode, ResponseMode, envoy_binary};
pub use epp::Epp;
pub use etcd::{Certificates, Etcd, Transport};
pub use fleet::Fleet;
pub use gateway_replica::GatewayReplica;
pub use pod::{Pod, PodConfig};
pub use process::{Process, Signal, built_binary};
pub use service::Service;
