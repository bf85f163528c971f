//! Starts real processes on free ports for end-to-end tests, and stops them when the test ends.
//!
//! [`TestCluster`] is a complete deployment: model servers, an aggregator, a collector, EPP replicas, and
//! Envoy in front. Tests wait for conditions with [`eventually`], never for a fixed time.

mod certificate_authority;
mod endpoints_file;
mod http;
mod load;
mod ports;
mod processes;
mod test_cluster;
mod test_dir;
mod wait;

pub use ::http::StatusCode;
pub use certificate_authority::CertificateAuthority;
pub use endpoints_file::{write_endpoints, write_pool};
pub use http::{
    Client, CompletionRequest, MODEL, MetricsPage, Response, ResponseFormat, UPLOAD_CHUNK_BYTES, Upload,
    random_text,
};
pub use load::{Load, LoadResult, RequestFailure, TIER_OBJECTIVES, Tier};
pub use ports::Ports;
pub use processes::{
    Certificates, Envoy, Epp, Etcd, Fleet, GatewayReplica, PICKED_HEADER, Pod, PodConfig, Process,
    RequestMode, ResponseMode, Service, Signal, Transport, built_binary, envoy_binary,
};
pub use test_cluster::{TestCluster, TestClusterConfig, start_collector};
pub use test_dir::{TestDir, target};
pub use wait::eventually;
