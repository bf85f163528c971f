//! Hashes a prompt into blocks and counts its tokens.

pub(crate) mod media;
pub(crate) mod messages;

use std::borrow::Cow;

use serde_json::value::RawValue;
use signalbox_prefix::ChainHasher;
use signalbox_types::BlockHash;

use crate::json::raw_content;
use crate::json::token_ids::{InvalidTokenId, TokenIdLists, TokenIds};
use media::MediaItem;

/// Follows each hashed field. Raw JSON cannot contain this byte, so different prompts never give the same
/// bytes.
const SEPARATOR: &[u8] = b"\x1f";

/// Precedes optional fields. Raw JSON cannot contain this byte.
const OPTIONAL_FIELD: &[u8] = b"\x1e";

/// Separates lists of token ids. No vocabulary is large enough to contain this id.
const LIST_BOUNDARY: [u8; 4] = u32::MAX.to_le_bytes();

/// Bytes of text that count as one token.
const TEXT_BYTES_PER_TOKEN: u64 = 4;

/// Bytes of token ids that are hashed at once.
const ID_BUFFER_BYTES: usize = 1_024;

/// Builds the block hashes of a prompt.
///
/// A cache salt becomes part of the chain's seed, together with the name of the model. Prompts with different
/// salts therefore share no block even if they begin with the same bytes, and the salt does not shift the
/// block boundaries.
pub(crate) struct Prompt {
    chain: ChainHasher,
    text_bytes: u64,
    ids: u64,
}

impl Prompt {
    /// Returns an empty prompt for `model`, in blocks of `block_bytes`. An empty salt counts as none.
    pub(crate) fn new(model: &str, salt: Option<&RawValue>, block_bytes: u32) -> Self {
        let chain = ChainHasher::new(&chain_seed(model, raw_content(salt)), block_bytes);
        Self { chain, text_bytes: 0, ids: 0 }
    }

    /// Adds text as it is written in the body.
    pub(crate) fn add_text(&mut self, text: &str) {
        self.chain.update(text.as_bytes());
        self.text_bytes += text.len() as u64;
    }

    /// Adds the content of a value and terminates it.
    pub(crate) fn add_field(&mut self, value: Option<&RawValue>) {
        self.add_text(raw_content(value));
        self.chain.update(SEPARATOR);
        self.text_bytes += SEPARATOR.len() as u64;
    }

    /// Adds the content of the field `name` if it is present.
    pub(crate) fn add_optional_field(&mut self, name: &str, value: Option<&RawValue>) {
        if value.is_some() {
            self.chain.update(OPTIONAL_FIELD);
            self.chain.update(name.as_bytes());
            self.chain.update(SEPARATOR);
            self.add_field(value);
        }
    }

    /// Adds `len_bytes` to the length of the prompt without hashing anything.
    pub(crate) fn add_unhashed(&mut self, len_bytes: u64) {
        self.text_bytes += len_bytes;
    }

    /// Adds token ids. Each is hashed as 4 little-endian bytes, so that a block is `block_bytes / 4` tokens.
    /// The hash of a medium is hashed before the token where the medium starts.
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
            while let Some(item) = media_items.next_if(|item| item.offset <= self.ids) {
                self.chain.update(&buffer[..std::mem::take(&mut len)]);
                self.chain.update(item.hash);
                self.chain.update(SEPARATOR);
            }
            buffer[len..len + 4].copy_from_slice(&id?.to_le_bytes());
            len += 4;
            self.ids += 1;
            if len == buffer.len() {
                self.chain.update(&buffer);
                len = 0;
            }
        }
        self.chain.update(&buffer[..len]);
        Ok(())
    }

    /// Adds a prompt that is a string, an array of strings, an array of token ids, or an array of such
    /// arrays.
    ///
    /// # Errors
    /// Returns [`InvalidTokenId`] if the prompt is empty or something else.
    pub(crate) fn add_any(&mut self, value: &RawValue) -> Result<(), InvalidTokenId> {
        let text = value.get();
        match text.as_bytes() {
            [b'"', _, .., b'"'] => self.add_text(raw_content(Some(value))),
            [b'[', inner @ ..] => match inner.trim_ascii_start().first() {
                Some(b'"') => self.add_text(text),
                Some(b'[') => self.add_id_lists(text)?,
                _ => self.add_ids(TokenIds::from_array(text)?, &[])?,
            },
            _ => return Err(InvalidTokenId),
        }
        if self.is_empty() { Err(InvalidTokenId) } else { Ok(()) }
    }

    /// Returns whether nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.ids == 0 && self.text_bytes == 0
    }

    /// Returns the length of the prompt in tokens, and its chain. Token ids count one each; text counts one
    /// token per 4 bytes.
    pub(crate) fn finish(self) -> (u64, Vec<BlockHash>) {
        (self.ids + self.text_bytes.div_ceil(TEXT_BYTES_PER_TOKEN), self.chain.finish())
    }

    fn add_id_lists(&mut self, array: &str) -> Result<(), InvalidTokenId> {
        for ids in TokenIdLists::from_array(array)? {
            if self.ids > 0 {
                self.chain.update(&LIST_BOUNDARY);
            }
            self.add_ids(ids?, &[])?;
        }
        Ok(())
    }
}

/// Returns the seed of a chain: without a salt, the name of the model alone.
///
/// A salt is raw JSON and cannot contain the separator. A model name that contains the separator gets an
/// empty salt, so that it cannot be mistaken for a name with a salt.
fn chain_seed<'a>(model: &'a str, salt: &str) -> Cow<'a, str> {
    if salt.is_empty() && !model.contains('\u{1f}') {
        Cow::Borrowed(model)
    } else {
        Cow::Owned(format!("\u{1f}{salt}\u{1f}{model}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(ids: &[u32], media_items: &[MediaItem<'_>]) -> Vec<BlockHash> {
        let mut prompt = Prompt::new("m", None, 16);
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

    #[test]
    fn seeds_of_different_salts_and_models_differ() {
        let seeds = [
            chain_seed("m", ""),
            chain_seed("m", "s"),
            chain_seed("m", r"\u001f"),
            chain_seed("\u{1f}s\u{1f}m", ""),
            chain_seed("\u{1f}\u{1f}m", ""),
            chain_seed("s\u{1f}m", ""),
            chain_seed("", "m"),
        ];
        assert_eq!(seeds[0], "m");
        for (at, one) in seeds.iter().enumerate() {
            assert!(!seeds[..at].contains(one), "{one:?}");
        }
    }
}
