//! A substitute for a tokenizer and a chat template, and the hashes of the blocks.
//!
//! A text is cut into tokens of varying length. A prompt, or each message of a chat, has a factor of its own, drawn from
//! its first bytes, and the length of each of its tokens varies around that. Both depend only on the text, so that every pod counts
//! alike and prompts that begin alike share their first tokens. The words of an answer (see [`answer`]) are one
//! token each wherever they come, so that the answer has the same tokens when it returns as part of a prompt.
//!
//! Blocks are chained: each hash covers everything before it, and the chain starts with the model's name, so that
//! two models never share a block. The hashes are the engine's own; they have nothing in common with those of
//! Signalbox's prefix index.

pub(crate) mod answer;
mod config;
mod lengths;

use std::sync::Arc;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

pub use config::TokenizerConfig;
use lengths::TokenLengths;

/// A prompt in the form that the engine uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedPrompt {
    /// One hash per full block.
    pub chain: Arc<[u64]>,
    /// Length in tokens.
    pub token_count: u32,
    /// Hash of the whole prompt, including the partial last block.
    pub fingerprint: u64,
    /// Tokens after the last full block.
    tail: Vec<u32>,
    /// What the next block's hash continues.
    parent: u64,
}

/// A message of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatMessage {
    /// Role of its author.
    pub role: String,
    /// Its whole text.
    pub text: String,
}

/// Encodes a text for one model. `block_size_tokens` must not be 0.
#[must_use]
pub fn encode_text(
    config: &TokenizerConfig,
    model: &str,
    text: &[u8],
    block_size_tokens: u32,
) -> EncodedPrompt {
    let mut tokens = Vec::with_capacity(text.len() / 4 + 1);
    append_text(&mut tokens, &mut TokenLengths::new(config, text), text);
    encode(model, &tokens, block_size_tokens)
}

/// Encodes a chat for one model by the chat template of `config`. `block_size_tokens` must not be 0.
#[must_use]
pub fn encode_chat(
    config: &TokenizerConfig,
    model: &str,
    messages: &[ChatMessage],
    block_size_tokens: u32,
) -> EncodedPrompt {
    if config.chat_message_tokens == 0 {
        let parts = messages.iter().flat_map(|message| [message.role.as_str(), message.text.as_str()]);
        return encode_text(config, model, parts.collect::<String>().as_bytes(), block_size_tokens);
    }
    let mut tokens = Vec::new();
    tokens.extend((0..config.chat_start_tokens).map(|index| special_token("start", index)));
    let header = |role: &str| -> Vec<u32> {
        (1..config.chat_message_tokens).map(|index| special_token(role, index)).collect()
    };
    for message in messages {
        tokens.extend(header(&message.role));
        let text = message.text.as_bytes();
        append_text(&mut tokens, &mut TokenLengths::new(config, text), text);
        tokens.push(special_token("end", 0));
    }
    // The header of the answer.
    tokens.extend(header("assistant"));
    encode(model, &tokens, block_size_tokens)
}

/// Encodes a token array for one model. `block_size_tokens` must not be 0.
#[must_use]
pub fn encode_tokens(model: &str, tokens: &[u32], block_size_tokens: u32) -> EncodedPrompt {
    encode(model, tokens, block_size_tokens)
}

impl EncodedPrompt {
    /// Returns the text of an answer of `answer_tokens` tokens.
    #[must_use]
    pub fn answer_text(&self, answer_tokens: u32) -> String {
        answer::text(self.fingerprint, 0, answer_tokens)
    }

    /// Returns one hash per full block of the prompt followed by an answer of `answer_tokens` tokens.
    #[must_use]
    pub fn chain_with_answer(&self, answer_tokens: u32, block_size_tokens: u32) -> Arc<[u64]> {
        let answer =
            (0..answer_tokens).map(|index| token_id(answer::word(self.fingerprint, index).as_bytes()));
        let tokens: Vec<u32> = self.tail.iter().copied().chain(answer).collect();
        let (blocks, _) = hash_blocks(self.parent, &tokens, block_size_tokens);
        self.chain.iter().copied().chain(blocks).collect()
    }
}

fn append_text(tokens: &mut Vec<u32>, lengths: &mut TokenLengths, text: &[u8]) {
    let mut rest = text;
    while !rest.is_empty() {
        let length = if answer::starts_with_word(rest) {
            lengths.skip();
            answer::WORD_BYTES
        } else {
            next_length(lengths, rest)
        };
        let (token, after) = rest.split_at(length);
        tokens.push(token_id(token));
        rest = after;
    }
}

/// Returns the length of the next token of a text. It ends before a word of an answer, so that a text that
/// continues with an answer has the tokens of both.
fn next_length(lengths: &mut TokenLengths, text: &[u8]) -> usize {
    let length = lengths.next().min(text.len());
    if !lengths.vary() {
        return length;
    }
    (1..length).find(|&start| answer::starts_with_word(&text[start..])).unwrap_or(length)
}

fn encode(model: &str, tokens: &[u32], block_size_tokens: u32) -> EncodedPrompt {
    let root = xxh3_64(model.as_bytes());
    let (chain, tail) = hash_blocks(root, tokens, block_size_tokens);
    let parent = chain.last().copied().unwrap_or(root);
    EncodedPrompt {
        token_count: tokens.len() as u32,
        fingerprint: hash_tokens(parent, tail),
        tail: tail.to_vec(),
        chain: chain.into(),
        parent,
    }
}

/// Returns the hash of each full block, and the tokens after the last one.
fn hash_blocks(parent: u64, tokens: &[u32], block_size_tokens: u32) -> (Vec<u64>, &[u32]) {
    let blocks = tokens.chunks_exact(block_size_tokens as usize);
    let tail = blocks.remainder();
    let chain = blocks.scan(parent, |parent, block| {
        *parent = hash_tokens(*parent, block);
        Some(*parent)
    });
    (chain.collect(), tail)
}

fn hash_tokens(parent: u64, tokens: &[u32]) -> u64 {
    let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
    xxh3_64_with_seed(&bytes, parent)
}

fn token_id(text: &[u8]) -> u32 {
    xxh3_64(text) as u32
}

/// Returns a token that no text has.
fn special_token(kind: &str, index: u32) -> u32 {
    xxh3_64_with_seed(kind.as_bytes(), u64::from(index) + 1) as u32
}

#[cfg(test)]
mod tests;
