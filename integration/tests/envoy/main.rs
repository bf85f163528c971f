//! Tests a complete deployment with Envoy in front: aggregator, collector, EPP replicas and model servers,
//! each in its own process.

mod aborted;
mod access_log;
mod bodies;
mod contract;
mod draining;
mod full_pods;
mod killed_pod;
mod killed_replica;
mod many_clients;
mod prefixes;
mod refusals;
mod response_modes;
mod revoking;
mod stored_responses;
mod waiting;
