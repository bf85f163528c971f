//! How many simulators run.

use std::str::FromStr;

/// The most simulators.
const MAX: u16 = 256;

/// How many simulators run: a number, or a range for an autoscaler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::up) struct SimulatorCount {
    /// So many run at first, and never fewer.
    pub(in crate::up) min: u16,
    /// Never more run.
    pub(in crate::up) max: u16,
    /// Whether it was written as a range.
    pub(in crate::up) is_range: bool,
}

impl FromStr for SimulatorCount {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().ok().filter(|number| (1..=MAX).contains(number));
        let (min, max) = text.split_once("..").unwrap_or((text, text));
        match (number(min), number(max)) {
            (Some(min), Some(max)) if min <= max => Ok(Self { min, max, is_range: text.contains("..") }),
            (Some(min), Some(max)) => Err(format!("{min} is above {max}; write the lower number first")),
            _ => Err(format!("write a number from 1 to {MAX}, or with --autoscale a range such as 1..8")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_is_a_number_or_a_range() {
        let count = |min, max, is_range| Ok(SimulatorCount { min, max, is_range });
        assert_eq!(count(4, 4, false), "4".parse());
        assert_eq!(count(1, 8, true), "1..8".parse());
        assert_eq!(count(3, 3, true), "3..3".parse());
        for wrong in ["", "0", "257", "0..8", "1..257", "8..1", "1..", "..8", "1..2..3", "-1", "many"] {
            assert!(wrong.parse::<SimulatorCount>().is_err(), "{wrong}");
        }
    }
}
