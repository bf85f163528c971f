//! Hashes a prompt, and counts its tokens.

use std::borrow::Cow;

use serde_json::value::RawValue;
use signalbox_prefix::ChainHasher;
use signalbox_types::BlockHash;

use crate::body::raw_content;
use crate::ids::{Ids, Lists, NotAnId};
use crate::media::Mark;

/// Stands after each hashed field. No JSON value can hold this byte as it is, so no two different prompts of fields
/// give the same bytes.
const SEPARATOR: &[u8] = b"\x1f";

/// Stands before fields that need not be there. No JSON value can hold this byte as it is.
const OPTIONAL: &[u8] = b"\x1e";

/// Stands between lists of token ids; no vocabulary reaches so far.
const LIST_BOUNDARY: [u8; 4] = u32::MAX.to_le_bytes();

/// Bytes of text that count as one token.
const TOKEN_BYTES: u64 = 4;

/// Bytes of token ids that are hashed at a time.
const IDS_BYTES: usize = 1_024;

/// A prompt on its way into a chain of blocks.
///
/// A salt keeps apart what has another salt, or none: it goes with the model's name into the seed of the chain, so
/// that blocks lie where they would without it, and even prompts that begin with the same bytes share none.
pub(crate) struct Prompt {
    chain: ChainHasher,
    text_bytes: u64,
    ids: u64,
}

impl Prompt {
    /// An empty prompt to `model`, in blocks of `block_bytes`. An empty salt is none.
    pub(crate) fn new(model: &str, salt: Option<&RawValue>, block_bytes: u32) -> Self {
        let chain = ChainHasher::new(&seed(model, raw_content(salt)), block_bytes);
        Self { chain, text_bytes: 0, ids: 0 }
    }

    /// Adds text, as it stands in the body.
    pub(crate) fn text(&mut self, text: &str) {
        self.chain.update(text.as_bytes());
        self.text_bytes += text.len() as u64;
    }

    /// Adds the content of a value, and ends it.
    pub(crate) fn field(&mut self, value: Option<&RawValue>) {
        self.text(raw_content(value));
        self.chain.update(SEPARATOR);
        self.text_bytes += SEPARATOR.len() as u64;
    }

    /// Adds the content of the value called `name`, if there is one.
    pub(crate) fn optional(&mut self, name: &str, value: Option<&RawValue>) {
        if value.is_some() {
            self.chain.update(OPTIONAL);
            self.chain.update(name.as_bytes());
            self.chain.update(SEPARATOR);
            self.field(value);
        }
    }

    /// Adds length that is not hashed, in bytes.
    pub(crate) fn skipped(&mut self, len_bytes: u64) {
        self.text_bytes += len_bytes;
    }

    /// Adds token ids. Hashed are 4 little-endian bytes of each, so that a block is `block_bytes / 4` tokens. What
    /// `marks` say is hashed before the token that they are about.
    ///
    /// # Errors
    /// The first of `ids`.
    pub(crate) fn ids<E>(
        &mut self,
        ids: impl Iterator<Item = Result<u32, E>>,
        marks: &[Mark<'_>],
    ) -> Result<(), E> {
        let (mut buffer, mut len) = ([0; IDS_BYTES], 0);
        let mut marks = marks.iter().peekable();
        for id in ids {
            while let Some(mark) = marks.next_if(|mark| mark.offset <= self.ids) {
                self.chain.update(&buffer[..std::mem::take(&mut len)]);
                self.chain.update(mark.hash);
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

    /// Adds a prompt that is a string, an array of strings, an array of token ids, or an array of such arrays.
    ///
    /// # Errors
    /// [`NotAnId`] where it is something else, or says nothing.
    pub(crate) fn any(&mut self, value: &RawValue) -> Result<(), NotAnId> {
        let text = value.get();
        match text.as_bytes() {
            [b'"', _, .., b'"'] => self.text(raw_content(Some(value))),
            [b'[', inner @ ..] => match inner.trim_ascii_start().first() {
                Some(b'"') => self.text(text),
                Some(b'[') => self.lists(text)?,
                _ => self.ids(Ids::of_array(text)?, &[])?,
            },
            _ => return Err(NotAnId),
        }
        if self.is_empty() { Err(NotAnId) } else { Ok(()) }
    }

    /// Whether nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.ids == 0 && self.text_bytes == 0
    }

    /// The length of the prompt in tokens (ids are counted, of text it takes 4 bytes to make one), and its chain.
    pub(crate) fn finish(self) -> (u64, Vec<BlockHash>) {
        (self.ids + self.text_bytes.div_ceil(TOKEN_BYTES), self.chain.finish())
    }

    fn lists(&mut self, array: &str) -> Result<(), NotAnId> {
        for ids in Lists::of_array(array)? {
            if self.ids > 0 {
                self.chain.update(&LIST_BOUNDARY);
            }
            self.ids(ids?, &[])?;
        }
        Ok(())
    }
}

/// What a chain begins with: without a salt the model's name alone. A salt, being raw JSON, cannot hold a separator,
/// and a name that does is told from one with a salt by an empty one.
fn seed<'a>(model: &'a str, salt: &str) -> Cow<'a, str> {
    if salt.is_empty() && !model.contains('\u{1f}') {
        Cow::Borrowed(model)
    } else {
        Cow::Owned(format!("\u{1f}{salt}\u{1f}{model}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(ids: &[u32], marks: &[Mark<'_>]) -> Vec<BlockHash> {
        let mut prompt = Prompt::new("m", None, 16);
        prompt.ids::<NotAnId>(ids.iter().copied().map(Ok), marks).unwrap();
        prompt.finish().1
    }

    #[test]
    fn a_block_of_ids_is_a_quarter_of_its_bytes() {
        let ids: Vec<u32> = (0..1_001).collect();
        let mut hasher = ChainHasher::new("m", 16);
        ids.iter().for_each(|id| hasher.update(&id.to_le_bytes()));
        let expected = hasher.finish();
        assert_eq!(expected.len(), 250);
        assert_eq!(chain(&ids, &[]), expected);
    }

    #[test]
    fn what_is_shown_parts_chains_where_it_stands() {
        let ids = [7; 64];
        let of = |hash: &'static [u8]| chain(&ids, &[Mark { offset: 32, hash }]);
        let (cat, dog) = (of(b"cat"), of(b"dog"));
        assert_eq!(cat[..8], dog[..8]);
        assert_eq!(cat[..8], chain(&ids, &[])[..8]);
        assert!(cat[8..].iter().all(|block| !dog.contains(block)));
        assert_eq!(cat, of(b"cat"));
    }

    #[test]
    fn no_salt_passes_for_another() {
        let seeds = [
            seed("m", ""),
            seed("m", "s"),
            seed("m", r"\u001f"),
            seed("\u{1f}s\u{1f}m", ""),
            seed("\u{1f}\u{1f}m", ""),
            seed("s\u{1f}m", ""),
            seed("", "m"),
        ];
        assert_eq!(seeds[0], "m");
        for (at, one) in seeds.iter().enumerate() {
            assert!(!seeds[..at].contains(one), "{one:?}");
        }
    }
}
