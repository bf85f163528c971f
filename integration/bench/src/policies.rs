//! The contenders: routing policies, each with the knowledge that its replicas have in production.

mod active_requests;
mod chooser;
mod dynamo;
pub(crate) mod go;
mod go_flow;
mod go_index;
mod held_blocks;
mod simple;
mod smg;
mod splits;
mod variant;

use serde::{Deserialize, Serialize};
use signalbox_modelsim::ModelConfig;
use signalbox_modelsim::profiles::Profile;
use signalbox_schedule::Policy;
use signalbox_types::Format;

pub(crate) use active_requests::PeerUpdate;
pub(crate) use chooser::{Arriving, Choice, Chooser};
pub(crate) use go_flow::{GoFlow, go_saturation};
pub(crate) use splits::{SPLIT, splits};
pub(crate) use variant::{is_variant, variant};

/// A routing policy in a benchmark.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) visibility: Visibility,
    pub(crate) algorithm: Algorithm,
}

/// What a replica knows of the pods' metrics and of other replicas' decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visibility {
    /// What a collector scrapes, and the decisions of all replicas as they are propagated.
    Pool,
    /// What the replica scrapes itself, and its own decisions.
    Own,
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Algorithm {
    /// A random endpoint.
    Random,
    /// Each endpoint in turn.
    RoundRobin,
    /// The endpoint with the fewest requests.
    LeastLoad,
    /// Of two random endpoints, the one with fewer prompt tokens in flight.
    TwoChoices,
    /// Each endpoint in proportion to its weight, spread as evenly as possible.
    WeightedRoundRobin(Vec<f64>),
    /// SMG's cache-aware policy.
    Smg(smg::Settings),
    /// Dynamo's KV router.
    Dynamo(dynamo::Settings),
    /// The Go EPP with this policy and its own index.
    Go(Box<Policy>),
    /// Signalbox's decision with this policy.
    Signalbox(Box<Policy>),
}

/// How a replica routes requests.
pub(crate) enum Router {
    /// By the pick of the EPP with this policy.
    Signalbox(Policy),
    /// By what another contender chooses.
    Other(Box<dyn Chooser>),
}

/// Names of the contenders that goals refer to.
pub(crate) const GO_DEFAULT: &str = "go-default";
pub(crate) const GO_AFFINITY: &str = "go-affinity";
pub(crate) const GO_CALIBRATED: &str = "go-affinity-calibrated";
pub(crate) const SIGNALBOX: &str = "signalbox";

/// Returns the contenders for pods of these profiles, Signalbox last.
pub(crate) fn contenders(profiles: &[&Profile]) -> Vec<Contender> {
    let own =
        |name: &str, algorithm| Contender { name: name.to_owned(), visibility: Visibility::Own, algorithm };
    let go = |name, policy| own(name, Algorithm::Go(Box::new(policy)));
    let mut contenders = vec![
        own("random", Algorithm::Random),
        own("round-robin", Algorithm::RoundRobin),
        least_load(),
        own("p2c-tokens", Algorithm::TwoChoices),
        own("smg", Algorithm::Smg(smg::Settings::default())),
        own("smg-tuned", Algorithm::Smg(smg::Settings::TUNED)),
        own("dynamo", Algorithm::Dynamo(dynamo::Settings::default())),
        own("dynamo-tuned", Algorithm::Dynamo(dynamo::Settings::TUNED)),
        go(GO_DEFAULT, go::default()),
        go(GO_AFFINITY, go::affinity()),
    ];
    contenders.extend(go::calibrated(profiles).map(|policy| go(GO_CALIBRATED, policy)));
    contenders.push(signalbox(Visibility::Pool));
    contenders
}

/// Returns the contender that defines the saturation rate.
pub(crate) fn least_load() -> Contender {
    Contender { name: "least-load".to_owned(), visibility: Visibility::Own, algorithm: Algorithm::LeastLoad }
}

/// Returns Signalbox with its default policy.
pub(crate) fn signalbox(visibility: Visibility) -> Contender {
    Contender { name: SIGNALBOX.to_owned(), visibility, algorithm: Algorithm::Signalbox(Box::default()) }
}

impl Algorithm {
    /// Starts the algorithm in one replica. `first` is where a rotation begins.
    pub(crate) fn start(&self, pods: &[ModelConfig], first: usize) -> Router {
        Router::Other(match self {
            Self::Signalbox(policy) => return Router::Signalbox((**policy).clone()),
            Self::Random => Box::new(simple::Random),
            Self::RoundRobin => Box::new(simple::RoundRobin(first % pods.len())),
            Self::LeastLoad => Box::new(simple::LeastLoad),
            Self::TwoChoices => Box::new(simple::TwoChoices),
            Self::WeightedRoundRobin(weights) => Box::new(simple::WeightedRoundRobin::new(weights.clone())),
            Self::Smg(settings) => {
                Box::new(smg::Smg::new(*settings, pods.len(), Format::default().block_bytes))
            }
            Self::Dynamo(settings) => Box::new(dynamo::Dynamo::new(*settings, pods)),
            Self::Go(policy) => Box::new(go::Go::new((**policy).clone(), pods)),
        })
    }

    /// Returns whether the algorithm reads the pods' metrics.
    pub(crate) fn reads_metrics(&self) -> bool {
        matches!(self, Self::LeastLoad | Self::Go(_) | Self::Signalbox(_))
    }
}
