//! Signalbox's decision.

use rand::rngs::SmallRng;
use signalbox_schedule::{Decision, Policy, decide};

use super::chooser::{Arriving, Choice, Chooser};

/// A replica of Signalbox, whose bookings and placements are those of the simulated replica.
pub(super) struct Signalbox(pub(super) Policy);

impl Chooser for Signalbox {
    fn choose(&mut self, arriving: &Arriving<'_>, rng: &mut SmallRng) -> Choice {
        match decide(&arriving.inputs, &self.0, rng) {
            Decision::Picked { position, terms } => {
                Choice { position, cached_tokens: Some(terms.cached_tokens) }
            }
            Decision::NoEndpoint | Decision::Filtered => panic!("the policy refuses no request"),
        }
    }
}
