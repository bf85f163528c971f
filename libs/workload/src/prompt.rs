//! Prompts as sequences of numbered segments.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Bytes per token of [`Prompt::text`]; stands in for a tokenizer.
pub const BYTES_PER_TOKEN: usize = signalbox_types::BYTES_PER_TOKEN as usize;

/// Bytes of text that come from one hash: four words of three letters and a space; 26^12 is below 2^64.
const BYTES_PER_DRAW: usize = 16;

/// Who wrote a part of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Author {
    /// The operator: instructions and the descriptions of tools.
    System,
    /// The user.
    User,
    /// The model, in an earlier answer.
    Assistant,
    /// A tool that the model called.
    Tool,
}

/// A part of a prompt: the beginning of the endless text with the number `content`, as much as makes `tokens`
/// tokens in the mean. Texts with different numbers have nothing in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Segment {
    /// Author of the text.
    pub author: Author,
    /// Number of the text; for [`Author::Assistant`] that of the answer.
    pub content: u64,
    /// Length in tokens.
    pub tokens: u32,
}

/// A prompt: a sequence of segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    segments: Arc<[Segment]>,
    tokens: u32,
}

impl Prompt {
    /// Creates a prompt from `segments`; omits empty ones.
    pub fn new(segments: impl IntoIterator<Item = Segment>) -> Self {
        let segments: Arc<[Segment]> = segments.into_iter().filter(|segment| segment.tokens > 0).collect();
        let tokens = segments.iter().fold(0_u32, |sum, segment| sum.saturating_add(segment.tokens));
        Self { segments, tokens }
    }

    /// Returns the segments; none of them is empty.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Returns the messages: consecutive segments of one author.
    pub fn messages(&self) -> impl Iterator<Item = (Author, &[Segment])> {
        let messages = self.segments.chunk_by(|one, next| one.author == next.author);
        messages.map(|segments| (segments[0].author, segments))
    }

    /// Returns the length in tokens.
    pub fn tokens(&self) -> u32 {
        self.tokens
    }

    /// Returns the text with [`BYTES_PER_TOKEN`] bytes per token; answers are text like any other. It is the
    /// same on every machine.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(self.tokens as usize * BYTES_PER_TOKEN);
        for segment in self.segments.iter() {
            append_text(&mut text, segment.content, segment.tokens as usize * BYTES_PER_TOKEN);
        }
        text
    }
}

/// Appends the first `bytes` bytes of the text with the number `content`: words of three letters and a space.
pub fn append_text(text: &mut String, content: u64, bytes: usize) {
    for from in (0..bytes).step_by(BYTES_PER_DRAW) {
        let mut letters = xxh3_64_with_seed(&((from / BYTES_PER_DRAW) as u64).to_le_bytes(), content);
        for at in from..bytes.min(from + BYTES_PER_DRAW) {
            if at % 4 == 3 {
                text.push(' ');
            } else {
                text.push(char::from(b'a' + (letters % 26) as u8));
                letters /= 26;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, proptest};

    use super::*;

    const USER: Author = Author::User;

    fn segment(content: u64, tokens: u32) -> Segment {
        Segment { author: USER, content, tokens }
    }

    #[test]
    fn text_has_one_word_per_token_and_is_deterministic() {
        let prompt = Prompt::new([segment(7, 5), segment(8, 1)]);
        let text = prompt.text();
        assert_eq!(text.len(), 6 * BYTES_PER_TOKEN);
        assert!(text.split_terminator(' ').all(|word| word.len() == 3));
        assert_eq!(text, Prompt::new(prompt.segments().to_vec()).text());
        assert!(Prompt::new([segment(7, 99)]).text().starts_with(&text[..20]));
    }

    #[test]
    fn messages_are_consecutive_segments_of_one_author() {
        let by = |author, content| Segment { author, content, tokens: 1 };
        let prompt = Prompt::new([by(Author::System, 1), by(USER, 2), by(USER, 3), by(Author::Tool, 4)]);
        let messages: Vec<_> = prompt.messages().map(|(author, segments)| (author, segments.len())).collect();
        assert_eq!(vec![(Author::System, 1), (USER, 2), (Author::Tool, 1)], messages);
    }

    proptest! {
        #[test]
        fn texts_are_equal_exactly_as_far_as_their_numbers_and_lengths(
            one in (0..3_u64, 0..200_usize),
            other in (0..3_u64, 0..200_usize),
        ) {
            let render = |(content, bytes)| {
                let mut text = String::new();
                append_text(&mut text, content, bytes);
                text
            };
            let (text, other_text) = (render(one), render(other));
            prop_assert_eq!((one.1, other.1), (text.len(), other_text.len()));
            let shorter = one.1.min(other.1);
            if one.0 == other.0 {
                prop_assert_eq!(&text[..shorter], &other_text[..shorter]);
            } else if shorter >= 16 {
                prop_assert!(text[..shorter] != other_text[..shorter]);
            }
        }

        #[test]
        fn token_count_matches_the_text(
            segments in vec((0..3_u64, 0..40_u32).prop_map(|(content, tokens)| segment(content, tokens)), 0..6),
        ) {
            let prompt = Prompt::new(segments);
            prop_assert_eq!(prompt.text().len(), prompt.tokens() as usize * BYTES_PER_TOKEN);
        }
    }
}
