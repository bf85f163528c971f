//! The parts in which a flow table is sent.

use std::sync::Arc;

use signalbox_flow::{BandShares, FlowSettings, Served};
use signalbox_types::Origin;

use super::flow_measures::FlowMeasures;
use super::origin_flows::OriginFlows;

/// A part of a [`super::FlowTable`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlowPart {
    /// The settings, and what the owner measured.
    Pool(Arc<FlowSettings>, FlowMeasures),
    /// What waits at one replica, and what can be revoked there.
    Origin(Origin, Arc<OriginFlows>),
    /// What flows of the band of this priority got: all of them, or some.
    Band(i32, Arc<BandShares>),
}

/// The maximum number of flows in a part of a band, so that each is about as large as the other parts of a snapshot.
const MAX_SERVED: usize = 1_000;

impl FlowPart {
    /// Returns the parts of a band, at least one.
    pub(super) fn of_band(priority: i32, shares: &Arc<BandShares>) -> Vec<Self> {
        if shares.served.len() <= MAX_SERVED {
            return vec![Self::Band(priority, Arc::clone(shares))];
        }
        let served: Vec<_> = shares.served.iter().map(|(id, served)| (Arc::clone(id), *served)).collect();
        let part = |served: &[(Arc<str>, Served)]| {
            let BandShares { virtual_time, latest, credit, .. } = &**shares;
            let (latest, served) = (latest.clone(), served.iter().cloned().collect());
            let shares = BandShares { virtual_time: *virtual_time, latest, credit: *credit, served };
            Self::Band(priority, Arc::new(shares))
        };
        served.chunks(MAX_SERVED).map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::FlowTable;
    use super::*;

    #[test]
    fn parts_of_a_band_are_small_and_make_the_same_band() {
        for count in [0, 1, 1_000, 1_001, 4_000] {
            let served = |at: u64| (at.to_string().into(), Served { finish: at + 1, ..Served::default() });
            let shares = BandShares {
                virtual_time: 7,
                latest: Some("3".into()),
                served: (0..count).map(served).collect(),
                ..BandShares::default()
            };
            let mut table = FlowTable::default();
            table.add_served(-1, &shares);
            let (parts, mut copy) = (table.parts(), FlowTable::default());
            for part in &parts {
                copy.insert(part);
                assert!(!matches!(part, FlowPart::Band(_, shares) if shares.served.len() > MAX_SERVED));
            }
            assert_eq!(table, copy);
            assert_eq!(1 + count.div_ceil(1_000).max(1), parts.len() as u64);
        }
    }
}
