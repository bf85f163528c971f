//! The whole line with real Envoy in front: aggregator, collector, EPP replicas and model servers, each a process.

mod bodies;
mod contract;
mod crowd;
mod full;
mod killed_epp;
mod killed_pod;
mod logged;
mod modes;
mod prefixes;
mod refusals;
