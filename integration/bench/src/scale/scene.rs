//! A scene: a profile with its requests, and how long pods take to start.

use signalbox_modelsim::ModelConfig;
use signalbox_modelsim::profiles;

use super::profiles::Profile;
use super::request::Request;

/// The bounds of every autoscaler.
pub(super) const LEAST: u32 = 1;
pub(super) const MOST: u32 = 24;

/// How much of the pods there are at the beginning is used.
const USED_AT_FIRST: f64 = 0.75;

/// What one run simulates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    pub(super) profile: &'static Profile,
    pub(super) requests: &'a [Request],
    /// The requests that a full pod serves per second.
    pub(super) pod_per_second: f64,
    pub(super) startup_s: f64,
    pub(super) seed: u64,
}

impl Scene<'_> {
    /// Returns how many pods serve at the beginning.
    pub(super) fn replicas_at_first(&self) -> u32 {
        (self.profile.load(0.0) / USED_AT_FIRST).ceil() as u32
    }
}

/// Returns the model server of each pod.
pub(super) fn model() -> &'static ModelConfig {
    &profiles::find("l40s-8b").expect("the profile is among those of modelsim").model
}
