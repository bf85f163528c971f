//! By how much more waits than may.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use signalbox_flow::{BandSettings, Caps, FlowSettings};

use super::scenes::TIERS;
use super::traffic::{SECONDS, Traffic};
use crate::policies::{Visibility, signalbox};
use crate::sim::flow::{Control, FlowRun};
use crate::sim::{self, RunConfig};

/// The load in percent.
pub(super) const LOAD_PERCENT: u32 = 200;

/// How many requests of the lowest tier may wait, at all replicas together: fewer than arrive in excess.
const CAP: u64 = 200;

/// What waited of a tier with a limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Capped {
    pub(super) replicas: usize,
    pub(super) cap: u64,
    /// The most that waited at a time, at all replicas together.
    pub(super) most_waiting: u64,
    /// Requests that were refused.
    pub(super) refused: usize,
}

impl Capped {
    /// Returns by how much the limit was exceeded, in percent.
    pub(super) fn excess_percent(&self) -> f64 {
        self.most_waiting.saturating_sub(self.cap) as f64 / self.cap as f64 * 100.0
    }
}

/// Runs a scene whose lowest tier has a limit on what may wait.
pub(super) fn measure(traffic: &Traffic, seed: u64, replicas: usize) -> Capped {
    let lowest = TIERS[TIERS.len() - 1].0;
    let sent = traffic.at(LOAD_PERCENT);
    let control = Control::Signalbox(Arc::new(with_cap(traffic.scene.settings(), lowest)));
    let run = sim::run(RunConfig {
        requests: &sent.requests,
        speed: 1.0,
        pods: &traffic.pods,
        contender: &signalbox(Visibility::Pool),
        replicas,
        kills: &[],
        seed,
        flow: Some(FlowRun {
            senders: &sent.senders,
            control: &control,
            until_us: Some((SECONDS * 1e6) as u64),
        }),
    });
    Capped {
        replicas,
        cap: CAP,
        most_waiting: run.flow.most_waiting.get(&lowest).copied().unwrap_or(0),
        refused: run.flow.dropped,
    }
}

fn with_cap(settings: FlowSettings, priority: i32) -> FlowSettings {
    let mut bands = settings.bands.clone();
    let band: &mut BandSettings = bands.entry(priority).or_default();
    band.caps = Caps { requests: CAP, ..Caps::NONE };
    FlowSettings { bands, ..settings }
}
