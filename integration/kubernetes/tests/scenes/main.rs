//! Signalbox in a cluster, as its users run it.

mod api_server;
mod autoscaling;
mod churn;
mod faults;
mod owner;
mod pods;
mod rbac;
mod release;
mod replicas;
mod requests;
mod seed;
