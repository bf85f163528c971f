//! Hashes a prompt into blocks and measures its size.

mod canonical;
mod chain_writer;
pub(crate) mod content;
mod items;
mod marks;
mod media;
mod media_header;
pub(crate) mod messages;
pub(crate) mod placeholders;
pub(crate) mod root;

use serde_json::value::RawValue;
use signalbox_types::{BlockHash, MediaKind, MediaTokens, MediaWeights, PromptSize};
use xxhash_rust::xxh3::xxh3_128;

use crate::json::cursor::{Cursor, unquoted};
use crate::json::token_ids::{InvalidTokenId, TokenIdLists, TokenIds};
use crate::options::ParseOptions;
use canonical::{Token, read_tokens};
use chain_writer::ChainWriter;
use marks::{END, FIELD, MEDIUM};
use media::{Payload, kind_byte};
use placeholders::MediaItem;
use root::{Form, Root};

/// Separates lists of token ids. No vocabulary is large enough to contain this id.
const LIST_BOUNDARY: [u8; 4] = u32::MAX.to_le_bytes();

/// Precedes the digest of a medium among token ids. No vocabulary is large enough to contain this id.
const MEDIUM_BOUNDARY: [u8; 4] = (u32::MAX - 1).to_le_bytes();

/// Bytes of token ids that are hashed at once.
const ID_BUFFER_BYTES: usize = 1_024;

/// Builds the block hashes of a prompt.
///
/// Text is hashed in decoded form, so that it does not matter how a client escapes it. [`marks`] describes
/// how the structure of a prompt is hashed.
pub(crate) struct Prompt {
    chain: ChainWriter,
    size: PromptSize,
    block_bytes: u32,
    weights: MediaWeights,
}

impl Prompt {
    /// Returns an empty prompt.
    pub(crate) fn new(root: &Root<'_>, options: &ParseOptions<'_>) -> Self {
        Self {
            chain: ChainWriter::new(&root.seed(), options.block_bytes),
            size: PromptSize::default(),
            block_bytes: options.block_bytes.max(1),
            weights: options.media_weights,
        }
    }

    /// Adds text that is not JSON.
    pub(crate) fn add_text(&mut self, text: &str) {
        self.write(text.as_bytes());
    }

    /// Adds the content of a JSON string, which contains escapes.
    pub(crate) fn add_escaped(&mut self, text: &str) {
        let before = self.chain.len_bytes();
        self.chain.write_escaped(text);
        self.size.text_bytes += self.chain.len_bytes() - before;
    }

    /// Adds the field `name` if it is present. Cache marks are left out down to `cache_mark_depth`, see
    /// [`read_tokens`].
    pub(crate) fn add_field(&mut self, name: &str, json: Option<&str>, cache_mark_depth: usize) {
        if let Some(json) = json {
            self.begin_field(name);
            self.add_value(json, cache_mark_depth);
        }
    }

    /// Begins the field `name`; its value must follow.
    fn begin_field(&mut self, name: &str) {
        self.write(&[FIELD]);
        self.write(name.as_bytes());
        self.write(&[END]);
    }

    /// Adds a JSON value, however it is written.
    fn add_value(&mut self, json: &str, cache_mark_depth: usize) {
        read_tokens(json, cache_mark_depth, |token| self.add_token(token));
    }

    fn add_token(&mut self, token: Token<'_>) {
        match token {
            Token::Key(text) | Token::Text(text) => {
                self.add_escaped(text);
                self.write(&[END]);
            }
            _ => token.write_to(|piece| self.write(piece)),
        }
    }

    /// Adds a medium: its digest to the chain, and its weight to the size.
    fn add_medium(&mut self, kind: MediaKind, payload: Payload<'_>) {
        let mut bytes = [0; MediaTokens::CHAIN_BYTES as usize];
        bytes[0] = MEDIUM;
        bytes[1] = kind_byte(kind);
        bytes[2..].copy_from_slice(&payload.digest().to_le_bytes());
        self.chain.write(&bytes);
        let block = (self.chain.len_bytes() - 1) / u64::from(self.block_bytes);
        let block = u32::try_from(block).unwrap_or(u32::MAX);
        let tokens = payload.weight(kind, &self.weights);
        self.size.add_medium(MediaTokens { kind, block, tokens });
    }

    /// Adds token ids. Each is hashed as 4 little-endian bytes, so that a block is `block_bytes / 4` tokens.
    /// The digest of a medium's hash is added before the token where the medium starts. It weighs nothing:
    /// the ids reserve the medium's tokens.
    ///
    /// # Errors
    /// Returns the first error of `ids`.
    pub(crate) fn add_ids<E>(
        &mut self,
        ids: impl Iterator<Item = Result<u32, E>>,
        media_items: &[MediaItem<'_>],
    ) -> Result<(), E> {
        let (mut buffer, mut len) = ([0; ID_BUFFER_BYTES], 0);
        let mut media_items = media_items.iter().peekable();
        for id in ids {
            while let Some(item) = media_items.next_if(|item| item.offset <= self.size.token_ids) {
                self.chain.write(&buffer[..std::mem::take(&mut len)]);
                self.chain.write(&MEDIUM_BOUNDARY);
                self.chain.write(&xxh3_128(item.hash).to_le_bytes());
            }
            buffer[len..len + 4].copy_from_slice(&id?.to_le_bytes());
            len += 4;
            self.size.token_ids += 1;
            if len == buffer.len() {
                self.chain.write(&buffer);
                len = 0;
            }
        }
        self.chain.write(&buffer[..len]);
        Ok(())
    }

    /// Adds a prompt that is a string, an array of strings, an array of token ids, or an array of such
    /// arrays. An array of one string is the same prompt as the string.
    ///
    /// # Errors
    /// Returns [`InvalidTokenId`] if the prompt is empty or something else.
    pub(crate) fn add_any(&mut self, value: &RawValue) -> Result<(), InvalidTokenId> {
        let json = value.get();
        match (form_of(value), json.as_bytes()) {
            (Form::Text, [b'"', ..]) => self.add_escaped(unquoted(json).unwrap_or_default()),
            (Form::Text, _) => {
                self.add_texts(json);
                return Ok(());
            }
            (Form::TokenIds, [b'[', inner @ ..]) if inner.trim_ascii_start().starts_with(b"[") => {
                self.add_id_lists(json)?
            }
            (Form::TokenIds, _) => self.add_ids(TokenIds::from_array(json)?, &[])?,
        }
        if self.is_empty() { Err(InvalidTokenId) } else { Ok(()) }
    }

    /// Returns whether nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.size.is_empty()
    }

    /// Returns the size of the prompt and its chain.
    pub(crate) fn finish(self) -> (PromptSize, Vec<BlockHash>) {
        (self.size, self.chain.finish())
    }

    fn add_texts(&mut self, array: &str) {
        let (mut cursor, mut is_first) = (Cursor::new(array), true);
        cursor.enter_array();
        while !cursor.leave_array() {
            if !std::mem::take(&mut is_first) {
                self.write(&[END]);
            }
            let value = cursor.value();
            match unquoted(value) {
                Some(text) => self.add_escaped(text),
                None => self.add_value(value, 0),
            }
        }
    }

    fn add_id_lists(&mut self, array: &str) -> Result<(), InvalidTokenId> {
        for ids in TokenIdLists::from_array(array)? {
            if self.size.token_ids > 0 {
                self.chain.write(&LIST_BOUNDARY);
            }
            self.add_ids(ids?, &[])?;
        }
        Ok(())
    }

    /// Adds bytes that count as text.
    fn write(&mut self, bytes: &[u8]) {
        self.chain.write(bytes);
        self.size.text_bytes += bytes.len() as u64;
    }
}

/// Returns what a prompt for [`Prompt::add_any`] consists of.
pub(crate) fn form_of(value: &RawValue) -> Form {
    let is_text = match value.get().as_bytes() {
        [b'[', inner @ ..] => inner.trim_ascii_start().starts_with(b"\""),
        json => json.starts_with(b"\""),
    };
    if is_text { Form::Text } else { Form::TokenIds }
}

#[cfg(test)]
mod tests {
    use signalbox_prefix::ChainHasher;

    use super::*;

    fn chain(ids: &[u32], media_items: &[MediaItem<'_>]) -> Vec<BlockHash> {
        let root = Root { model: "m", form: Form::Text, fields: &[] };
        let mut prompt = Prompt::new(&root, &ParseOptions::new(16));
        prompt.add_ids::<InvalidTokenId>(ids.iter().copied().map(Ok), media_items).unwrap();
        prompt.finish().1
    }

    #[test]
    fn block_holds_a_quarter_as_many_ids_as_bytes() {
        let ids: Vec<u32> = (0..1_001).collect();
        let mut hasher = ChainHasher::new("m", 16);
        ids.iter().for_each(|id| hasher.update(&id.to_le_bytes()));
        let expected = hasher.finish();
        assert_eq!(expected.len(), 250);
        assert_eq!(chain(&ids, &[]), expected);
    }

    #[test]
    fn media_change_the_chain_from_their_offset_on() {
        let ids = [7; 64];
        let of = |hash: &'static [u8]| chain(&ids, &[MediaItem { offset: 32, hash }]);
        let (cat, dog) = (of(b"cat"), of(b"dog"));
        assert_eq!(cat[..8], dog[..8]);
        assert_eq!(cat[..8], chain(&ids, &[])[..8]);
        assert!(cat[8..].iter().all(|block| !dog.contains(block)));
        assert_eq!(cat, of(b"cat"));
    }
}
