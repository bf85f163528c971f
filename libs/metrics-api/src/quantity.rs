//! Quantities: numbers as Kubernetes writes them.

/// Values from here on do not fit into the autoscaler's count of thousandths.
const LIMIT: f64 = 9.2e15;

/// Writes a value as a quantity, to the thousandth, rounded up like the autoscaler does: `3`, or `1500m`. `None` for
/// what is no amount: a negative number, one that is too large, or none.
pub(crate) fn quantity(value: f64) -> Option<String> {
    let is_amount = (0.0..LIMIT).contains(&value);
    is_amount.then(|| {
        // A value that is a whole number of thousandths but for the error of binary fractions is not rounded up.
        let thousandths = value * 1000.0;
        let nearest = thousandths.round();
        let is_whole = (thousandths - nearest).abs() <= 1e-9 * nearest.max(1.0);
        let thousandths = if is_whole { nearest } else { thousandths.ceil() } as u64;
        if thousandths.is_multiple_of(1000) {
            (thousandths / 1000).to_string()
        } else {
            format!("{thousandths}m")
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whole_numbers_are_plain_and_others_are_thousandths() {
        let written = |value: f64| quantity(value).unwrap();
        assert_eq!(
            ["0", "3", "1500m", "1m"],
            [0.0, 3.0, 1.5, 0.000_1].map(written).each_ref().map(String::as_str)
        );
        assert_eq!("1234567", written(1_234_567.0));
        assert_eq!("100m", written(0.1));
        assert_eq!("300m", written(0.1 + 0.2));
    }

    #[test]
    fn what_is_no_amount_is_not_written() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, -0.001, LIMIT] {
            assert_eq!(None, quantity(value), "{value}");
        }
    }

    proptest! {
        #[test]
        fn a_quantity_is_at_most_a_thousandth_above_the_value(value in 0.0..1e9) {
            let written = quantity(value).unwrap();
            let read = match written.strip_suffix('m') {
                Some(thousandths) => thousandths.parse::<f64>().unwrap() / 1000.0,
                None => written.parse().unwrap(),
            };
            prop_assert!(read >= value - 1e-6 * value.max(1.0) && read <= value + 0.001 + 1e-6 * value.max(1.0));
        }
    }
}
