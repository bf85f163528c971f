//! Whether a request goes at once.

use signalbox_flow::FlowSettings;

use crate::flow_control::FlowMode;

/// What happens to a request that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes at once.
    Go,
    /// It waits for a grant.
    Wait,
    /// It is refused: the pool is full, its priority is negative, and flow control is off.
    Shed,
}

/// From which share of a band's ceiling on a request waits behind others. Places that were granted but are not booked yet
/// make a full pool look less full, by what it works off in a round trip: a tenth of the hold, or two. A pool that is half
/// empty has no queue: what waits there has its grant on the way.
const QUEUE_SHARE: f64 = 0.5;

/// Returns what happens to a request of `priority`, while requests of the priority `highest_waiting` wait at any replica for
/// a grant. `saturation` is that of the endpoint that was chosen, and `pool` tells that of the whole pool: it is
/// called only if the request may have to wait or be refused.
///
/// A request goes at once unless both are full for its band, or others of its band or a higher one wait already: those were
/// there first. Lower bands do not hold it up. What would be refused rather than wait is no exception: it would take the place
/// that a higher band waits for.
pub(crate) fn verdict(
    mode: FlowMode,
    settings: &FlowSettings,
    (priority, highest_waiting): (i32, Option<i32>),
    saturation: f64,
    pool: impl FnOnce() -> f64,
) -> Verdict {
    if mode == FlowMode::Off {
        let is_shed = priority < 0 && saturation >= 1.0 && pool() >= 1.0;
        return if is_shed { Verdict::Shed } else { Verdict::Go };
    }
    let is_behind = highest_waiting.is_some_and(|waiting| waiting >= priority);
    if !is_behind && saturation < settings.ceiling(priority, saturation) {
        return Verdict::Go;
    }
    let pool = pool();
    let ceiling = settings.ceiling(priority, pool);
    let is_queued = is_behind && pool >= QUEUE_SHARE * ceiling;
    if pool >= ceiling || is_queued { Verdict::Wait } else { Verdict::Go }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};
    use proptest::prop_assert_eq;
    use signalbox_flow::Ceilings;

    use super::*;

    /// Returns the verdict on a request whose endpoint and pool are that full, while others wait.
    fn of(settings: &FlowSettings, priority: i32, waiting: Option<i32>, full: (f64, f64)) -> Verdict {
        verdict(FlowMode::On, settings, (priority, waiting), full.0, || full.1)
    }

    #[test]
    fn request_waits_behind_its_own_band_and_higher_ones_only() {
        let settings = FlowSettings::default();
        assert_eq!(
            [Verdict::Go, Verdict::Go, Verdict::Wait, Verdict::Wait],
            [None, Some(-1), Some(0), Some(1)].map(|waiting| of(&settings, 0, waiting, (0.0, 0.9)))
        );
    }

    /// Otherwise one request that waits makes all wait that arrive meanwhile, and they the next ones.
    #[test]
    fn queue_does_not_go_on_in_a_pool_that_has_room() {
        let settings = FlowSettings::default();
        assert_eq!(Verdict::Go, of(&settings, 0, Some(0), (9.0, 0.4)));
        assert_eq!(Verdict::Go, of(&settings, -1, Some(0), (9.0, 0.4)));
    }

    #[test]
    fn one_busy_endpoint_neither_delays_nor_sheds() {
        let settings = FlowSettings::default();
        for priority in [0, -1] {
            assert_eq!(Verdict::Go, of(&settings, priority, None, (9.0, 0.9)));
            let off = |pool| verdict(FlowMode::Off, &settings, (priority, None), 9.0, || pool);
            assert_eq!(Verdict::Go, off(0.99));
        }
    }

    /// Otherwise, while the pool is full, sheddable requests take every place between its becoming free and its grant.
    #[test]
    fn request_that_may_not_wait_takes_no_place_that_a_higher_band_waits_for() {
        let settings = FlowSettings::default();
        let of = |waiting, pool| of(&settings, -1, waiting, (1.0, pool));
        assert_eq!([Verdict::Go, Verdict::Wait], [of(None, 0.9), of(None, 1.0)]);
        assert_eq!(Verdict::Wait, of(Some(0), 0.9));
    }

    #[test]
    fn without_flow_control_only_sheddable_requests_are_shed_and_nothing_waits() {
        let settings = FlowSettings::default();
        let of = |priority, full| verdict(FlowMode::Off, &settings, (priority, Some(9)), full, || full);
        assert_eq!([Verdict::Go, Verdict::Go, Verdict::Shed], [of(0, 9.0), of(-1, 0.99), of(-1, 1.0)]);
    }

    #[test]
    fn lower_band_is_held_back_earlier() {
        let ceilings = Ceilings::HoldbackByRank { lowest: 0.5, highest: 1.0 };
        let settings = FlowSettings { ceilings, ..FlowSettings::default() };
        let of = |priority| of(&settings, priority, None, (0.7, 0.7));
        assert_eq!([Verdict::Go, Verdict::Wait], [of(0), of(-10)]);
    }

    proptest! {
        /// Below saturation, nothing is ever delayed unless others wait.
        #[test]
        fn nothing_waits_below_saturation(priority in any::<i32>(), endpoint in 0.0..9.0_f64, pool in 0.0..1.0_f64) {
            prop_assert_eq!(Verdict::Go, of(&FlowSettings::default(), priority, None, (endpoint, pool)));
        }

        #[test]
        fn everything_waits_while_the_pool_is_full(priority in any::<i32>(), saturation in 1.0..9.0_f64) {
            let full = (saturation, saturation);
            prop_assert_eq!(Verdict::Wait, of(&FlowSettings::default(), priority, None, full));
        }
    }
}
