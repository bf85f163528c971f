//! When bookings were known, from what was heard of replicas' gauges.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::ensure;
use signalbox_types::{EndpointKey, Origin};

use crate::ear::{News, What};

/// From each answer until as many bookings were known as were answered until then, replica by replica, endpoint by endpoint. What was
/// known before the answer was read took no time.
pub(crate) fn delays_ms(
    answered: BTreeMap<(Origin, EndpointKey), Vec<Instant>>,
    news: &[News],
) -> anyhow::Result<Vec<f64>> {
    let mut known: BTreeMap<(Origin, EndpointKey), Vec<Instant>> = BTreeMap::new();
    for News { at, what } in news {
        if let What::Loaded { endpoint, origin, requests } = what {
            let known = known.entry((*origin, *endpoint)).or_default();
            known.resize((*requests as usize).max(known.len()), *at);
        }
    }
    let mut delays_ms = Vec::new();
    for (whose, mut answered) in answered {
        answered.sort();
        let known = known.remove(&whose).unwrap_or_default();
        ensure!(
            known.len() >= answered.len(),
            "{} of {} bookings were heard of",
            known.len(),
            answered.len()
        );
        let delays =
            answered.iter().zip(&known).map(|(answered, known)| known.saturating_duration_since(*answered));
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
    use crate::ear::{News, What};

    #[test]
    fn a_booking_is_known_when_as_many_are() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let loaded = |after, requests| {
            let what = What::Loaded { endpoint: EndpointKey(1), origin: Origin(2), requests };
            News { at: start + ms(after), what }
        };
        let answered =
            || BTreeMap::from([((Origin(2), EndpointKey(1)), vec![start + ms(3), start, start + ms(4)])]);
        let news = [loaded(2, 1), loaded(3, 1), loaded(9, 3)];
        assert_eq!(delays_ms(answered(), &news).unwrap(), [2.0, 6.0, 5.0]);
        assert!(delays_ms(answered(), &news[..2]).is_err());
        assert_eq!(delays_ms(answered(), &[loaded(0, 3)]).unwrap(), [0.0, 0.0, 0.0]);
    }
}
