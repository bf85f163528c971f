//! Prompts as the two sides see them: replicas read the bytes of a request's body, as in production, and engines
//! tokenize its messages. Nothing but the text connects the two.

use std::collections::HashMap;

use anyhow::Context;
use serde_json::json;
use signalbox_intake::{Api, ParseOptions, parse};
use signalbox_modelsim::profiles::Profile;
use signalbox_modelsim::tokenizer::{ChatMessage, encode_chat};
use signalbox_types::Format;
use signalbox_workload::{Author, Item, Segment, append_text};

use crate::sim::{Prompt, SimRequest};

const MODEL: &str = "llama";

/// Encodes the requests of a workload in their order.
pub(super) struct Encoder {
    profile: &'static Profile,
    /// Text of each answer to the requests so far.
    answers: HashMap<u64, String>,
}

impl Encoder {
    /// Creates an encoder for pods with the tokenizer and the block size of `profile`.
    pub(super) fn new(profile: &'static Profile) -> Self {
        Self { profile, answers: HashMap::new() }
    }

    /// Encodes a request and remembers its answer, which the model server will give at any pod.
    ///
    /// # Errors
    /// Fails when the body cannot be parsed.
    pub(super) fn encode(&mut self, item: &Item) -> anyhow::Result<SimRequest> {
        let messages: Vec<ChatMessage> =
            item.prompt.messages().map(|message| self.message(message)).collect();
        let block_tokens = self.profile.model.block_size_tokens;
        let encoded = encode_chat(&self.profile.tokenizer, MODEL, &messages, block_tokens);
        self.answers.insert(item.answer, encoded.answer_text(item.output_tokens));
        let parsed = parse(Api::Chat, &body(&messages), &ParseOptions::new(Format::default().block_bytes))
            .context("intake rejects a generated request")?;
        let prompt = Prompt {
            chain: parsed.chain.into(),
            text_bytes: parsed.request.prompt.text_bytes,
            blocks: encoded.chain_with_answer(item.output_tokens, block_tokens),
            prompt_blocks: encoded.chain.len(),
            tokens: encoded.token_count,
        };
        Ok(SimRequest { at_us: item.at_us, prompt, output_tokens: item.output_tokens })
    }

    fn message(&self, (author, segments): (Author, &[Segment])) -> ChatMessage {
        let mut text = String::new();
        for segment in segments {
            match self.answers.get(&segment.content).filter(|_| author == Author::Assistant) {
                Some(answer) => text.push_str(answer),
                // Also answers to requests before the workload begins.
                None => append_text(&mut text, segment.content, self.bytes(segment.tokens)),
            }
        }
        ChatMessage { role: role(author).to_owned(), text }
    }

    /// Returns the bytes of text that make so many tokens in the mean.
    fn bytes(&self, tokens: u32) -> usize {
        (u64::from(tokens) * u64::from(self.profile.tokenizer.token_millibytes) / 1_000) as usize
    }
}

fn role(author: Author) -> &'static str {
    match author {
        Author::System => "system",
        Author::User => "user",
        Author::Assistant => "assistant",
        Author::Tool => "tool",
    }
}

/// Returns the body of a chat request. It does not limit the output, as most clients do not know its length.
fn body(messages: &[ChatMessage]) -> Vec<u8> {
    let message = |message: &ChatMessage| json!({ "role": message.role, "content": message.text });
    let messages: Vec<_> = messages.iter().map(message).collect();
    json!({ "model": MODEL, "messages": messages }).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use signalbox_modelsim::profiles;
    use signalbox_types::PromptSize;

    use super::*;

    fn segment(author: Author, content: u64, tokens: u32) -> Segment {
        Segment { author, content, tokens }
    }

    fn encode(prompts: &[&[Segment]]) -> Vec<Prompt> {
        let mut encoder = Encoder::new(profiles::find("h100-8b").unwrap());
        let item = |(at, segments): (usize, &&[Segment])| Item {
            at_us: 0,
            prompt: signalbox_workload::Prompt::new(segments.iter().copied()),
            output_tokens: 100,
            answer: at as u64,
        };
        let items = prompts.iter().enumerate().map(item);
        items.map(|item| encoder.encode(&item).unwrap().prompt).collect()
    }

    fn common<T: PartialEq>(one: &[T], other: &[T]) -> usize {
        one.iter().zip(other).take_while(|(one, other)| one == other).count()
    }

    #[test]
    fn next_turn_holds_the_answer_for_both_sides() {
        let first = [segment(Author::System, 10, 1_000), segment(Author::User, 11, 300)];
        let answer = segment(Author::Assistant, 0, 100);
        let second = [first[0], first[1], answer, segment(Author::User, 12, 300)];
        let [first, second] = &encode(&[&first, &second])[..] else { panic!("two prompts") };
        assert_eq!(first.blocks[..], second.blocks[..first.blocks.len()]);
        assert!(
            first.blocks.len() > first.prompt_blocks && first.prompt_blocks == first.tokens as usize / 16
        );
        assert_eq!(first.chain[..], second.chain[..first.chain.len()]);
    }

    #[test]
    fn both_sides_share_what_the_texts_share() {
        let system = segment(Author::System, 10, 2_000);
        let prompts =
            encode(&[&[system, segment(Author::User, 11, 500)], &[system, segment(Author::User, 12, 500)]]);
        let tokens = 16 * common(&prompts[0].blocks, &prompts[1].blocks);
        let bytes = 256 * common(&prompts[0].chain, &prompts[1].chain);
        assert!((1_600..2_500).contains(&tokens), "{tokens}");
        assert!((8_200..8_704).contains(&bytes), "{bytes}");
    }

    #[test]
    fn true_tokens_differ_from_the_estimate_but_not_in_the_mean() {
        let prompts: Vec<_> = (0..60).map(|content| [segment(Author::User, content, 2_000)]).collect();
        let prompts = encode(&prompts.iter().map(|prompt| &prompt[..]).collect::<Vec<_>>());
        let tokens: Vec<f64> = prompts.iter().map(|prompt| f64::from(prompt.tokens)).collect();
        let mean = tokens.iter().sum::<f64>() / 60.0;
        assert!((1_900.0..2_150.0).contains(&mean), "{mean}");
        let estimate = |prompt: &Prompt| {
            let size = PromptSize { text_bytes: prompt.text_bytes, ..PromptSize::default() };
            size.tokens(PromptSize::DEFAULT_BYTES_PER_TOKEN_MILLI, 100) as f64
        };
        let errors = prompts.iter().map(|prompt| (estimate(prompt) / f64::from(prompt.tokens) - 1.0).abs());
        assert!(errors.fold(0.0, f64::max) > 0.1);
    }
}
