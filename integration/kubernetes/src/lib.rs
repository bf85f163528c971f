//! Runs Signalbox on a real Kubernetes control plane, with pods as processes.
//!
//! - [`sandboxed`] gives a test network, mount and process namespaces of its own. Nothing outlives them.
//! - [`ControlPlane`] is etcd, the API server and the controllers.
//! - [`Nodes`] runs the pods that the controllers create: real processes, each pod with an address of its own.
//! - [`Cluster`] is all of this, with the CRDs that Signalbox reads.
//! - [`Scene`] is a cluster with model servers, the chart, and load through its gateway.
//!
//! `cargo xtask test --only kubernetes-tools` builds the control plane, KEDA and a reference adapter, and downloads helm and
//! kubectl.

mod api;
mod cluster;
mod command;
mod control_plane;
mod helm;
mod kubectl;
mod node;
mod sandbox;
mod scene;
mod tools;

pub use api::Api;
pub use cluster::{Cluster, NODES, is_ready};
pub use control_plane::{Checkpoint, ControlPlane};
pub use helm::{Helm, HelmVersion};
pub use kubectl::Kubectl;
pub use node::{Image, Network, Nodes, signalbox_images};
pub use sandbox::sandboxed;
pub use scene::{NAMESPACE, RELEASE, Scene, metrics_address};
pub use tools::{reference_adapter, released_crds};
