//! In which order the requests of a flow go.

/// By how much a goal can advance a request before others that arrived earlier, in milliseconds. Without a bound, a client
/// that asks for 0 ms would always be first.
const MAX_ADVANCE_MS: u64 = 5_000;

/// In which order the requests of a flow go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ordering {
    /// By arrival (`fcfs-ordering-policy`).
    #[default]
    Arrival,
    /// By the end of their time to wait (`edf-ordering-policy`). All requests of a flow may wait equally long, so this is
    /// the order of arrival.
    Deadline,
    /// By arrival plus the client's goal for the time to the first token (`slo-deadline-ordering-policy`), which
    /// counts as at most 5 s; without a goal 5 s.
    TtftGoal,
}

impl Ordering {
    /// Returns the time by which a request is ordered that arrived at `arrived_ms` with this goal for the time to the first
    /// token, in milliseconds: the least goes first.
    pub(crate) fn key_ms(self, arrived_ms: u64, ttft_goal_ms: Option<u32>) -> u64 {
        match self {
            Self::Arrival | Self::Deadline => arrived_ms,
            Self::TtftGoal => {
                let goal_ms = ttft_goal_ms.map_or(MAX_ADVANCE_MS, u64::from);
                arrived_ms.saturating_add(goal_ms.min(MAX_ADVANCE_MS))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_ms(arrived_ms: u64, ttft_goal_ms: Option<u32>) -> u64 {
        assert_eq!(arrived_ms, Ordering::Arrival.key_ms(arrived_ms, ttft_goal_ms));
        Ordering::TtftGoal.key_ms(arrived_ms, ttft_goal_ms)
    }

    #[test]
    fn goal_advances_a_request_by_a_bounded_time() {
        assert!(key_ms(1_000, Some(500)) < key_ms(900, None));
        assert!(key_ms(1_000, Some(500)) < key_ms(900, Some(700)));
        // A goal of 0 does not overtake what arrived more than 5 s earlier, and a missing or long goal is 5 s.
        assert!(key_ms(6_001, Some(0)) > key_ms(1_000, None));
        assert_eq!(key_ms(7, None), key_ms(7, Some(u32::MAX)));
    }
}
