//! The pools that a process follows.

use signalbox_types::PeerAddress;
use tokio::sync::watch;

use crate::fleet::{Fleet, FleetSettings, watch_aggregators, watch_fleet};

/// The pools that a replica or a collector follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FollowedPools {
    /// This one, NAMESPACE/NAME; without a name, the only one that the aggregators have.
    One(Option<String>),
    /// All pools of the [`Fleet`].
    All,
}

impl FollowedPools {
    /// Returns the name of the only pool, if it is known.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::One(name) => name.as_deref(),
            Self::All => None,
        }
    }

    /// Watches the aggregators that are known, and, with all pools, the fleet, which names them. With one pool,
    /// `discover` watches them: those that it is given, and those that it finds.
    pub fn watch_aggregators(
        &self,
        settings: FleetSettings,
        discover: impl FnOnce(Vec<PeerAddress>) -> watch::Receiver<Vec<PeerAddress>>,
    ) -> (watch::Receiver<Vec<PeerAddress>>, Option<watch::Receiver<Fleet>>) {
        match self {
            Self::One(_) => (discover(settings.aggregators), None),
            Self::All => {
                let fleet = watch_fleet(settings);
                (watch_aggregators(fleet.clone()), Some(fleet))
            }
        }
    }
}
