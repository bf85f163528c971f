//! The output text of a model without weights: four-byte words, one per token.

use crate::seeded_random;

/// Length of every word.
pub(super) const WORD_BYTES: usize = 4;

const WORDS: [&str; 32] = [
    "the ", "sun ", "sea ", "day ", "sky ", "red ", "old ", "new ", "and ", "but ", "for ", "its ", "way ",
    "far ", "low ", "big ", "one ", "two ", "ten ", "all ", "any ", "few ", "can ", "may ", "saw ", "ran ",
    "sat ", "got ", "out ", "off ", "yet ", "now ",
];

/// Returns output token `index` for the prompt with this fingerprint. The same prompt always gets the same
/// words.
pub(super) fn word(fingerprint: u64, index: u32) -> &'static str {
    WORDS[(seeded_random::mix(fingerprint, u64::from(index)) % WORDS.len() as u64) as usize]
}

/// Returns whether `text` begins with a word of an answer.
pub(super) fn starts_with_word(text: &[u8]) -> bool {
    text.get(WORD_BYTES - 1) == Some(&b' ') && WORDS.iter().any(|word| word.as_bytes() == &text[..WORD_BYTES])
}

/// Returns the text of output tokens `from..to` for the prompt with this fingerprint.
pub(crate) fn text(fingerprint: u64, from: u32, to: u32) -> String {
    (from..to).map(|index| word(fingerprint, index)).collect()
}

#[cfg(test)]
mod tests {
    use super::{starts_with_word, text};

    #[test]
    fn chunks_concatenate_to_the_whole_text() {
        assert_eq!(text(9, 0, 5) + &text(9, 5, 12), text(9, 0, 12));
        assert_eq!(text(9, 0, 12).len(), 48);
        assert_ne!(text(9, 0, 12), text(10, 0, 12));
    }

    #[test]
    fn words_are_recognized() {
        let answer = text(9, 0, 5);
        assert!((0..5).all(|token| starts_with_word(&answer.as_bytes()[token * 4..])));
        assert!(!starts_with_word(b"the") && !starts_with_word(b"then") && !starts_with_word(b""));
    }
}
