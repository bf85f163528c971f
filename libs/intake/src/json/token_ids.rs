//! Reads token ids from JSON arrays without building a list.

/// An array of token ids holds something that is not a `u32`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidTokenId;

/// Iterates over the ids in an array. The array must be valid JSON.
pub(crate) struct TokenIds<'a> {
    rest: &'a [u8],
}

impl<'a> TokenIds<'a> {
    /// Returns the ids of `array`, which must be a complete JSON value.
    pub(crate) fn from_array(array: &'a str) -> Result<Self, InvalidTokenId> {
        let inner = array.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or(InvalidTokenId)?;
        Ok(Self { rest: inner.as_bytes() })
    }
}

impl Iterator for TokenIds<'_> {
    type Item = Result<u32, InvalidTokenId>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rest = skip_separators(self.rest);
        if self.rest.is_empty() {
            return None;
        }
        let (mut id, mut len) = (0_u64, 0);
        for digit in self.rest.iter().take_while(|byte| byte.is_ascii_digit()) {
            id = id.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
            len += 1;
        }
        self.rest = &self.rest[len..];
        let id = u32::try_from(id).map_err(|_| InvalidTokenId);
        Some(if len == 0 { Err(InvalidTokenId) } else { id })
    }
}

/// Iterates over the inner arrays of an array of arrays of token ids. The array must be valid JSON.
pub(crate) struct TokenIdLists<'a> {
    rest: &'a [u8],
}

impl<'a> TokenIdLists<'a> {
    /// Returns the lists of `array`, which must be a complete JSON value.
    pub(crate) fn from_array(array: &'a str) -> Result<Self, InvalidTokenId> {
        TokenIds::from_array(array).map(|ids| Self { rest: ids.rest })
    }
}

impl<'a> Iterator for TokenIdLists<'a> {
    type Item = Result<TokenIds<'a>, InvalidTokenId>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rest = skip_separators(self.rest);
        let (first, inner) = self.rest.split_first()?;
        let end = memchr::memchr(b']', inner);
        let (b'[', Some(end)) = (first, end) else {
            self.rest = &[];
            return Some(Err(InvalidTokenId));
        };
        self.rest = &inner[end + 1..];
        Some(Ok(TokenIds { rest: &inner[..end] }))
    }
}

/// Returns what follows the whitespace and the comma between two elements.
fn skip_separators(bytes: &[u8]) -> &[u8] {
    let separators =
        bytes.iter().take_while(|byte| matches!(byte, b',' | b' ' | b'\n' | b'\r' | b'\t')).count();
    &bytes[separators..]
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    fn ids(array: &str) -> Result<Vec<u32>, InvalidTokenId> {
        TokenIds::from_array(array)?.collect()
    }

    fn lists(array: &str) -> Result<Vec<Vec<u32>>, InvalidTokenId> {
        TokenIdLists::from_array(array)?.map(|ids| ids?.collect()).collect()
    }

    #[test]
    fn anything_but_u32_is_rejected() {
        assert_eq!(ids("[ ]"), Ok(vec![]));
        assert_eq!(ids("[4294967295 ,\n0]"), Ok(vec![u32::MAX, 0]));
        for array in [
            "[4294967296]",
            "[99999999999999999999999]",
            "[-1]",
            "[1.5]",
            "[1e3]",
            "[1,\"2\"]",
            "[[1]]",
            "[1,[2]]",
            "[null]",
            "{}",
            "1",
        ] {
            assert_eq!(ids(array), Err(InvalidTokenId), "{array}");
        }
    }

    #[test]
    fn lists_of_token_ids_are_read() {
        assert_eq!(lists("[ [1, 2] ,[ ],[3]]"), Ok(vec![vec![1, 2], vec![], vec![3]]));
        for array in ["[[1],2]", "[[[1]]]", "[[\"]\"]]", "[[1],{}]"] {
            assert_eq!(lists(array), Err(InvalidTokenId), "{array}");
        }
    }

    proptest! {
        #[test]
        fn serialized_ids_round_trip(written in vec(any::<u32>(), 0..50), is_pretty in any::<bool>()) {
            let array = if is_pretty { serde_json::to_string_pretty(&written) } else { serde_json::to_string(&written) };
            prop_assert_eq!(ids(&array.unwrap()), Ok(written));
        }
    }
}
