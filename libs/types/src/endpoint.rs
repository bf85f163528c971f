//! Pools, endpoints and engines as they are configured.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::ids::EndpointKey;
use crate::models::Models;

/// A pool's identity, written as `NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PoolId {
    /// Namespace of the pool.
    pub namespace: String,
    /// Name of the pool within the namespace.
    pub name: String,
}

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for PoolId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_name = |part: &&str| !part.is_empty() && !part.contains('/');
        match text.split_once('/').filter(|(namespace, name)| is_name(namespace) && is_name(name)) {
            Some((namespace, name)) => Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() }),
            None => Err(format!("\"{text}\" is not of the form NAMESPACE/NAME")),
        }
    }
}

/// Whether the certificate of an endpoint's metrics page must be valid. It matters only for `https` URLs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricsTls {
    /// A known authority must have issued the certificate for the host in the URL.
    #[default]
    Verified,
    /// Any certificate is accepted.
    Unverified,
}

impl MetricsTls {
    /// Returns whether the certificate must be valid, by the setting that its verification is skipped.
    pub fn unless_skipped(is_skipped: bool) -> Self {
        if is_skipped { Self::Unverified } else { Self::Verified }
    }

    /// Returns whether the certificate must be valid.
    pub fn is_verified(&self) -> bool {
        *self == Self::Verified
    }
}

/// One endpoint of a pool: a model server behind one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSpec {
    /// Name, unique within the pool.
    pub name: String,
    /// Address that requests are sent to.
    pub address: SocketAddr,
    /// URL of the metrics page.
    pub metrics_url: String,
    /// Model server kind, which decides how the metrics page is parsed.
    pub engine: Engine,
    /// Labels of the pod.
    pub labels: BTreeMap<String, String>,
    /// Whether the endpoint is about to be removed: it keeps its running requests but takes no new ones.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_draining: bool,
    /// Whether the certificate of the metrics page must be valid.
    #[serde(default, skip_serializing_if = "MetricsTls::is_verified")]
    pub metrics_tls: MetricsTls,
}

impl EndpointSpec {
    /// The label that says what the endpoint's pod costs relative to others, in any unit: a positive number.
    pub const COST_LABEL: &str = "signalbox.dev/cost";

    /// Returns the endpoint's key.
    pub fn key(&self) -> EndpointKey {
        EndpointKey::of(&self.name)
    }

    /// Returns what the endpoint's pod costs; `None` if it does not say, or nothing usable.
    pub fn cost(&self) -> Option<f64> {
        self.labels.get(Self::COST_LABEL).and_then(|cost| Self::parse_cost(cost))
    }

    /// Returns the cost of a pod, as its label says; `None` if that is not a positive number.
    pub fn parse_cost(cost: &str) -> Option<f64> {
        cost.parse().ok().filter(|cost: &f64| cost.is_finite() && *cost > 0.0)
    }

    /// Returns the name of the pod that the endpoint belongs to: its own name without the rank, if it has one
    /// (`POD-rank-N`). The endpoints of one pod start and stop together.
    pub fn pod(&self) -> &str {
        let is_rank = |rank: &str| !rank.is_empty() && rank.bytes().all(|byte| byte.is_ascii_digit());
        let split = self.name.rsplit_once("-rank-").filter(|(pod, rank)| !pod.is_empty() && is_rank(rank));
        split.map_or(&self.name, |(pod, _)| pod)
    }
}

/// A pool with its endpoints and model rules, as read from Kubernetes or the endpoints file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSpec {
    /// Identity of the pool.
    pub id: PoolId,
    /// Endpoints of the pool.
    pub endpoints: Vec<EndpointSpec>,
    /// Objectives and model rewrites of the pool.
    pub models: Arc<Models>,
}
