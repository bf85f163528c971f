//! Goals for latencies.

use std::time::Duration;

/// The latencies within which a response is good. Without a goal, every response is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Goals {
    /// Time to first token.
    pub(crate) ttft: Option<Duration>,
    /// Time per output token after the first.
    pub(crate) tpot: Option<Duration>,
}

impl Goals {
    /// Returns whether any goal is set.
    pub(crate) fn are_set(self) -> bool {
        self.ttft.is_some() || self.tpot.is_some()
    }

    /// Returns whether a response with these latencies is good. Without a first token, that goal is missed; a response of one
    /// token meets every goal for those after it.
    pub(crate) fn are_met(self, ttft: Option<Duration>, tpot: Option<Duration>) -> bool {
        let is_early = self.ttft.is_none_or(|goal| ttft.is_some_and(|ttft| ttft <= goal));
        is_early && self.tpot.is_none_or(|goal| tpot.is_none_or(|tpot| tpot <= goal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_goal_that_is_set_must_be_met() {
        let ms = |ms| Some(Duration::from_millis(ms));
        let goals = Goals { ttft: ms(100), tpot: ms(10) };
        assert!(goals.are_met(ms(100), ms(10)) && goals.are_met(ms(100), None));
        assert!(
            !goals.are_met(ms(101), ms(1)) && !goals.are_met(ms(1), ms(11)) && !goals.are_met(None, ms(1))
        );
        assert!(Goals::default().are_met(None, None) && !Goals::default().are_set());
    }
}
