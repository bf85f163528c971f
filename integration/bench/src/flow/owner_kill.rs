//! What the death of the owner does while 1,000 requests wait.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::metrics::largest_unfairness_percent;
use super::traffic::Traffic;
use crate::policies::{Visibility, signalbox};
use crate::sim::flow::{Control, FlowRun};
use crate::sim::{self, Kill, KillTarget, RunConfig};

/// Replicas, and the load in percent.
const REPLICAS: usize = 8;
const LOAD_PERCENT: u32 = 200;

/// When the owner is killed: more than 1,000 requests wait then. And for how long no other one takes over.
const KILLED_AT_S: f64 = 40.0;
pub(super) const GAP_S: f64 = 2.5;

/// What became of the requests of a run in which the owner was killed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Killed {
    pub(super) scene: String,
    pub(super) requests: usize,
    /// The most that waited at a time, of all tiers.
    pub(super) most_waiting: u64,
    /// Requests that were neither served nor refused, and those that were sent to an endpoint twice.
    pub(super) lost: usize,
    pub(super) doubled: usize,
    /// The greatest difference of a tenant from its fair share of what was served in the gap, in percent; `None` if no tier
    /// that got anything was short of capacity.
    pub(super) off_percent: Option<f64>,
}

/// Runs a scene to its end and kills the owner in the middle.
pub(super) fn measure(traffic: &Traffic, seed: u64) -> Killed {
    let sent = traffic.at(LOAD_PERCENT);
    let control = Control::Signalbox(Arc::new(traffic.scene.settings()));
    let kill = Kill {
        at_us: (KILLED_AT_S * 1e6) as u64,
        target: KillTarget::Owner,
        restarts_after_us: (GAP_S * 1e6) as u64,
    };
    let run = sim::run(RunConfig {
        requests: &sent.requests,
        speed: 1.0,
        pods: &traffic.pods,
        contender: &signalbox(Visibility::Pool),
        replicas: REPLICAS,
        kills: &[kill],
        seed,
        flow: Some(FlowRun { senders: &sent.senders, control: &control, until_us: None }),
    });
    let served = run.served.iter().filter(|served| served.e2e_us > 0).count();
    let gap_s = KILLED_AT_S..KILLED_AT_S + GAP_S;
    Killed {
        scene: traffic.scene.name.to_owned(),
        requests: sent.requests.len(),
        most_waiting: run.flow.most_waiting.values().sum(),
        lost: sent.requests.len() - (served + run.flow.dropped).min(sent.requests.len()),
        doubled: run.flow.sent_again,
        off_percent: largest_unfairness_percent(traffic.scene, &sent, &run, gap_s),
    }
}
