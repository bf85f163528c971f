//! What a band with a minimum share may take before higher bands.

/// The most tokens that a band saves up for a short request: a few long prompts.
const MAX_TOKENS: u64 = 1 << 17;

/// Tokens that a band may take before higher bands, by its minimum share. Of each granted token, the band earns its share;
/// what it is granted itself, it pays. So in the long run it gets its share of all granted tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credit {
    /// In hundredths of a token, so that a percentage of a single token counts.
    pub hundredths: u64,
}

impl Credit {
    /// Returns whether the credit pays a request of `tokens` tokens. Without credit, it pays none.
    pub(super) fn covers(self, tokens: u64) -> bool {
        self.hundredths > 0 && self.hundredths >= tokens.saturating_mul(100)
    }

    /// Pays `tokens` granted tokens. A band that is granted more than its share owes nothing.
    pub(super) fn pay(&mut self, tokens: u64) {
        self.hundredths = self.hundredths.saturating_sub(tokens.saturating_mul(100));
    }

    /// Adds `share_percent` percent of `tokens` granted tokens. The credit always grows until it covers the longest of the
    /// band's next requests.
    pub(super) fn earn(&mut self, tokens: u64, share_percent: u8, longest_tokens: u64) {
        let earned = tokens.saturating_mul(u64::from(share_percent.min(100)));
        let most = MAX_TOKENS.max(longest_tokens).saturating_mul(100);
        self.hundredths = self.hundredths.saturating_add(earned).min(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_is_exact_for_the_shortest_requests() {
        let mut credit = Credit::default();
        assert!(!credit.covers(0));
        (0..99).for_each(|_| credit.earn(1, 1, 1));
        assert!(!credit.covers(1));
        credit.earn(1, 1, 1);
        assert!(credit.covers(1));
        credit.pay(1);
        assert_eq!(0, credit.hundredths);
    }

    #[test]
    fn credit_is_bounded_but_covers_the_longest_request() {
        let mut credit = Credit::default();
        credit.earn(u64::MAX, 100, 1);
        assert!(credit.covers(MAX_TOKENS) && !credit.covers(MAX_TOKENS + 1));
        credit.earn(u64::MAX, 100, 5_000_000);
        assert!(credit.covers(5_000_000) && !credit.covers(5_000_001));
        // What was saved for a long request that has left is not kept for short ones.
        credit.earn(1, 1, 1);
        assert!(!credit.covers(MAX_TOKENS + 1));
    }
}
