//! A request's body, collected from its chunks.

use bytes::{Bytes, BytesMut};

/// How much room is made for every byte that has come, at the word of a client about what is still to come. Room that is not used costs
/// addresses, not memory.
const TRUST: usize = 8;

/// The chunks of a body so far. One chunk is kept as it is; only when a second comes do they move into one buffer.
#[derive(Debug, Default)]
pub(crate) enum Body {
    #[default]
    Empty,
    One(Bytes),
    Many(BytesMut),
}

impl Body {
    pub(crate) fn len_bytes(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::One(chunk) => chunk.len(),
            Self::Many(buffer) => buffer.len(),
        }
    }

    /// Adds a chunk of a body of which the client says that it is `expected_bytes` long in all.
    pub(crate) fn push(&mut self, chunk: Bytes, expected_bytes: Option<u64>) {
        if chunk.is_empty() {
            return;
        }
        let room = room_bytes(self.len_bytes() + chunk.len(), expected_bytes);
        *self = match std::mem::take(self) {
            Self::Empty => Self::One(chunk),
            Self::One(first) => {
                let mut buffer = BytesMut::with_capacity(room);
                buffer.extend_from_slice(&first);
                buffer.extend_from_slice(&chunk);
                Self::Many(buffer)
            }
            Self::Many(mut buffer) => {
                if buffer.capacity() - buffer.len() < chunk.len() {
                    buffer.reserve(room - buffer.len());
                }
                buffer.extend_from_slice(&chunk);
                Self::Many(buffer)
            }
        };
    }

    /// The whole body, in one piece.
    pub(crate) fn into_bytes(self) -> Bytes {
        match self {
            Self::Empty => Bytes::new(),
            Self::One(chunk) => chunk,
            Self::Many(buffer) => buffer.freeze(),
        }
    }
}

/// How large a buffer shall be that holds `have_bytes`.
fn room_bytes(have_bytes: usize, expected_bytes: Option<u64>) -> usize {
    let expected = expected_bytes.map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    expected.clamp(have_bytes, have_bytes.saturating_mul(TRUST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_chunk_is_not_copied() {
        let chunk = Bytes::from(vec![7; 1000]);
        let mut body = Body::default();
        body.push(chunk.clone(), Some(1000));
        body.push(Bytes::new(), Some(1000));
        assert_eq!(body.into_bytes().as_ptr(), chunk.as_ptr());
    }

    #[test]
    fn a_body_of_the_expected_length_moves_once() {
        let mut body = Body::default();
        body.push(Bytes::from(vec![1; 100]), Some(1000));
        body.push(Bytes::from(vec![1; 100]), Some(1000));
        let Body::Many(buffer) = &body else { panic!("two chunks are {body:?}") };
        let start = buffer.as_ptr();
        for _ in 0..8 {
            body.push(Bytes::from(vec![1; 100]), Some(1000));
        }
        assert_eq!(body.into_bytes().as_ptr(), start);
    }

    #[test]
    fn room_is_made_for_what_has_come_not_for_what_is_claimed() {
        assert_eq!(room_bytes(100, Some(u64::MAX)), 100 * TRUST);
        assert_eq!(room_bytes(100, Some(500)), 500);
        assert_eq!(room_bytes(100, Some(5)), 100);
        assert_eq!(room_bytes(100, None), 100);
    }
}
