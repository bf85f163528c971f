//! Whether a request goes at once.

use signalbox_flow::FlowSettings;

use crate::config::FlowMode;

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

/// Returns what happens to a request of `priority` at this saturation of the pool, while requests of the priority
/// `highest_waiting` wait at any replica. Neither locks nor allocates.
///
/// A request goes at once unless the pool is full for its band, or others of its band or a higher one wait already: those
/// were there first. Lower bands do not hold it up.
pub(super) fn verdict(
    mode: FlowMode,
    settings: &FlowSettings,
    (priority, highest_waiting): (i32, Option<i32>),
    saturation: f64,
) -> Verdict {
    match mode {
        FlowMode::Off if priority < 0 && saturation >= 1.0 => Verdict::Shed,
        FlowMode::Off => Verdict::Go,
        FlowMode::On => {
            let is_first = highest_waiting.is_none_or(|waiting| waiting < priority);
            let is_full = saturation >= settings.ceiling(priority, saturation);
            if is_first && !is_full { Verdict::Go } else { Verdict::Wait }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};
    use proptest::prop_assert_eq;
    use signalbox_flow::Ceilings;

    use super::*;

    #[test]
    fn request_waits_behind_its_own_band_and_higher_ones_only() {
        let settings = FlowSettings::default();
        let of = |waiting| verdict(FlowMode::On, &settings, (0, waiting), 0.0);
        assert_eq!(
            [Verdict::Go, Verdict::Go, Verdict::Wait, Verdict::Wait],
            [None, Some(-1), Some(0), Some(1)].map(of)
        );
    }

    #[test]
    fn without_flow_control_only_sheddable_requests_are_shed_and_nothing_waits() {
        let settings = FlowSettings::default();
        let of = |priority, saturation| verdict(FlowMode::Off, &settings, (priority, Some(9)), saturation);
        assert_eq!([Verdict::Go, Verdict::Go, Verdict::Shed], [of(0, 9.0), of(-1, 0.99), of(-1, 1.0)]);
    }

    #[test]
    fn lower_band_is_held_back_earlier() {
        let ceilings = Ceilings::HoldbackByRank { lowest: 0.5, highest: 1.0 };
        let settings = FlowSettings { ceilings, ..FlowSettings::default() };
        let of = |priority| verdict(FlowMode::On, &settings, (priority, None), 0.7);
        assert_eq!([Verdict::Go, Verdict::Wait], [of(0), of(-10)]);
    }

    proptest! {
        /// Below saturation, nothing is ever delayed unless others wait.
        #[test]
        fn nothing_waits_below_saturation(priority in any::<i32>(), saturation in 0.0..1.0_f64) {
            let settings = FlowSettings::default();
            prop_assert_eq!(Verdict::Go, verdict(FlowMode::On, &settings, (priority, None), saturation));
        }

        #[test]
        fn everything_waits_while_the_pool_is_full(priority in any::<i32>(), saturation in 1.0..9.0_f64) {
            let settings = FlowSettings::default();
            prop_assert_eq!(Verdict::Wait, verdict(FlowMode::On, &settings, (priority, None), saturation));
        }
    }
}
