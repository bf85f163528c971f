//! Computes from observed gauges when bookings became known.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::ensure;
use signalbox_types::{EndpointKey, Origin};

use crate::harness::follower::{Observation, ObservedChange};

/// Returns for each response the time until the gauge of its replica and endpoint counted as many bookings as
/// had been routed by then. Bookings known before the response was read have a delay of 0.
pub(crate) fn delays_ms(
    routed: BTreeMap<(Origin, EndpointKey), Vec<Instant>>,
    observation: &[Observation],
) -> anyhow::Result<Vec<f64>> {
    let mut known: BTreeMap<(Origin, EndpointKey), Vec<Instant>> = BTreeMap::new();
    for Observation { at, change } in observation {
        if let ObservedChange::LoadChanged { endpoint, origin, requests } = change {
            let known = known.entry((*origin, *endpoint)).or_default();
            known.resize((*requests as usize).max(known.len()), *at);
        }
    }
    let mut delays_ms = Vec::new();
    for (key, mut routed) in routed {
        routed.sort();
        let known = known.remove(&key).unwrap_or_default();
        ensure!(known.len() >= routed.len(), "{} of {} bookings were observed", known.len(), routed.len());
        let delays =
            routed.iter().zip(&known).map(|(routed, known)| known.saturating_duration_since(*routed));
        delays_ms.extend(delays.map(|delay| delay.as_secs_f64() * 1e3));
    }
    Ok(delays_ms)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::{Duration, Instant};

    use signalbox_types::{EndpointKey, Origin};

    use super::delays_ms;
    use crate::harness::follower::{Observation, ObservedChange};

    #[test]
    fn booking_is_known_once_the_gauge_counts_it() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let load_changed = |after, requests| {
            let change =
                ObservedChange::LoadChanged { endpoint: EndpointKey(1), origin: Origin(2), requests };
            Observation { at: start + ms(after), change }
        };
        let routed =
            || BTreeMap::from([((Origin(2), EndpointKey(1)), vec![start + ms(3), start, start + ms(4)])]);
        let observation = [load_changed(2, 1), load_changed(3, 1), load_changed(9, 3)];
        assert_eq!(delays_ms(routed(), &observation).unwrap(), [2.0, 6.0, 5.0]);
        assert!(delays_ms(routed(), &observation[..2]).is_err());
        assert_eq!(delays_ms(routed(), &[load_changed(0, 3)]).unwrap(), [0.0, 0.0, 0.0]);
    }
}
