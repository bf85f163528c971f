//! Token ids in JSON arrays, read where they lie.

/// Something else than a `u32` stands among token ids.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotAnId;

/// The ids between the brackets of an array. The array must be valid JSON.
pub(crate) struct Ids<'a> {
    rest: &'a [u8],
}

impl<'a> Ids<'a> {
    /// The ids of `array`, which is whole JSON.
    pub(crate) fn of_array(array: &'a str) -> Result<Self, NotAnId> {
        let inner = array.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or(NotAnId)?;
        Ok(Self { rest: inner.as_bytes() })
    }
}

impl Iterator for Ids<'_> {
    type Item = Result<u32, NotAnId>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rest = after_gap(self.rest);
        if self.rest.is_empty() {
            return None;
        }
        let (mut id, mut len) = (0_u64, 0);
        for digit in self.rest.iter().take_while(|byte| byte.is_ascii_digit()) {
            id = id.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
            len += 1;
        }
        self.rest = &self.rest[len..];
        let id = u32::try_from(id).map_err(|_| NotAnId);
        Some(if len == 0 { Err(NotAnId) } else { id })
    }
}

/// The arrays of an array of arrays of token ids. The whole must be valid JSON.
pub(crate) struct Lists<'a> {
    rest: &'a [u8],
}

impl<'a> Lists<'a> {
    /// The lists of `array`, which is whole JSON.
    pub(crate) fn of_array(array: &'a str) -> Result<Self, NotAnId> {
        Ids::of_array(array).map(|ids| Self { rest: ids.rest })
    }
}

impl<'a> Iterator for Lists<'a> {
    type Item = Result<Ids<'a>, NotAnId>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rest = after_gap(self.rest);
        let (first, inner) = self.rest.split_first()?;
        let end = memchr::memchr(b']', inner);
        let (b'[', Some(end)) = (first, end) else {
            self.rest = &[];
            return Some(Err(NotAnId));
        };
        self.rest = &inner[end + 1..];
        Some(Ok(Ids { rest: &inner[..end] }))
    }
}

/// What follows the white space and the comma between two elements.
fn after_gap(bytes: &[u8]) -> &[u8] {
    let gap = bytes.iter().take_while(|byte| matches!(byte, b',' | b' ' | b'\n' | b'\r' | b'\t')).count();
    &bytes[gap..]
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    fn ids(array: &str) -> Result<Vec<u32>, NotAnId> {
        Ids::of_array(array)?.collect()
    }

    fn lists(array: &str) -> Result<Vec<Vec<u32>>, NotAnId> {
        Lists::of_array(array)?.map(|ids| ids?.collect()).collect()
    }

    #[test]
    fn only_ids_are_read() {
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
            assert_eq!(ids(array), Err(NotAnId), "{array}");
        }
    }

    #[test]
    fn lists_of_ids_are_read() {
        assert_eq!(lists("[ [1, 2] ,[ ],[3]]"), Ok(vec![vec![1, 2], vec![], vec![3]]));
        for array in ["[[1],2]", "[[[1]]]", "[[\"]\"]]", "[[1],{}]"] {
            assert_eq!(lists(array), Err(NotAnId), "{array}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(written in vec(any::<u32>(), 0..50), is_pretty in any::<bool>()) {
            let array = if is_pretty { serde_json::to_string_pretty(&written) } else { serde_json::to_string(&written) };
            prop_assert_eq!(ids(&array.unwrap()), Ok(written));
        }
    }
}
