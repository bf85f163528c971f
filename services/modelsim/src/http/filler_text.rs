//! The output text of a model without weights: four-byte words, one per token.

use crate::seeded_random;

const WORDS: [&str; 32] = [
    "the ", "sun ", "sea ", "day ", "sky ", "red ", "old ", "new ", "and ", "but ", "for ", "its ", "way ",
    "far ", "low ", "big ", "one ", "two ", "ten ", "all ", "any ", "few ", "can ", "may ", "saw ", "ran ",
    "sat ", "got ", "out ", "off ", "yet ", "now ",
];

/// Returns the text of output tokens `from..to` for the prompt with this fingerprint. The same prompt always
/// gets the same text.
pub(super) fn text(fingerprint: u64, from: u32, to: u32) -> String {
    (from..to).map(|token| WORDS[(seeded_random::mix(fingerprint, u64::from(token)) % 32) as usize]).collect()
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn chunks_concatenate_to_the_whole_text() {
        assert_eq!(text(9, 0, 5) + &text(9, 5, 12), text(9, 0, 12));
        assert_eq!(text(9, 0, 12).len(), 48);
        assert_ne!(text(9, 0, 12), text(10, 0, 12));
    }
}
