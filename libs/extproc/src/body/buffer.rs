//! Collects a request's body from its chunks.

use bytes::{Bytes, BytesMut};

/// Maximum capacity per received byte when the client announces a longer body.
const MAX_OVERALLOCATION: usize = 8;

/// The chunks of a body so far. A single chunk is kept as it is; only a second one moves both into a buffer.
#[derive(Debug, Default)]
pub(crate) enum BodyBuffer {
    #[default]
    Empty,
    Single(Bytes),
    Joined(BytesMut),
}

impl BodyBuffer {
    pub(crate) fn len_bytes(&self) -> usize {
        self.as_bytes().len()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Empty => &[],
            Self::Single(chunk) => chunk,
            Self::Joined(buffer) => buffer,
        }
    }

    /// Returns how many bytes the body takes once it has `chunk_bytes` more. `expected_bytes` is the length of the
    /// whole body according to the client.
    pub(crate) fn held_bytes_with(&self, chunk_bytes: usize, expected_bytes: Option<u64>) -> usize {
        let len = self.len_bytes() + chunk_bytes;
        match self {
            Self::Empty => chunk_bytes,
            Self::Single(chunk) if chunk_bytes == 0 => chunk.len(),
            Self::Single(_) => capacity_bytes(len, expected_bytes),
            Self::Joined(buffer) if len <= buffer.capacity() => buffer.capacity(),
            // Doubled, so that a body of unknown length is not copied for each chunk.
            Self::Joined(buffer) => capacity_bytes(len, expected_bytes).max(2 * buffer.capacity()),
        }
    }

    /// Appends a chunk. `expected_bytes` is the length of the whole body according to the client.
    pub(crate) fn push(&mut self, chunk: Bytes, expected_bytes: Option<u64>) {
        if chunk.is_empty() {
            return;
        }
        let capacity = self.held_bytes_with(chunk.len(), expected_bytes);
        *self = match std::mem::take(self) {
            Self::Empty => Self::Single(chunk),
            Self::Joined(mut buffer) if capacity == buffer.capacity() => {
                buffer.extend_from_slice(&chunk);
                Self::Joined(buffer)
            }
            held => {
                let mut buffer = BytesMut::with_capacity(capacity);
                buffer.extend_from_slice(held.as_bytes());
                buffer.extend_from_slice(&chunk);
                Self::Joined(buffer)
            }
        };
    }

    /// Returns the whole body in one piece.
    pub(crate) fn into_bytes(self) -> Bytes {
        match self {
            Self::Empty => Bytes::new(),
            Self::Single(chunk) => chunk,
            Self::Joined(buffer) => buffer.freeze(),
        }
    }
}

/// Returns the capacity of a buffer that holds `received_bytes` of a body.
fn capacity_bytes(received_bytes: usize, expected_bytes: Option<u64>) -> usize {
    let expected = expected_bytes.map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    expected.clamp(received_bytes, received_bytes.saturating_mul(MAX_OVERALLOCATION))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_chunk_is_not_copied() {
        let chunk = Bytes::from(vec![7; 1000]);
        let mut body = BodyBuffer::default();
        body.push(chunk.clone(), Some(1000));
        body.push(Bytes::new(), Some(1000));
        assert_eq!(body.into_bytes().as_ptr(), chunk.as_ptr());
    }

    #[test]
    fn body_of_the_announced_length_is_copied_once() {
        let mut body = BodyBuffer::default();
        body.push(Bytes::from(vec![1; 100]), Some(1000));
        body.push(Bytes::from(vec![1; 100]), Some(1000));
        let BodyBuffer::Joined(buffer) = &body else { panic!("two chunks are {body:?}") };
        let start = buffer.as_ptr();
        for _ in 0..8 {
            body.push(Bytes::from(vec![1; 100]), Some(1000));
        }
        assert_eq!(body.into_bytes().as_ptr(), start);
    }

    #[test]
    fn bytes_of_the_next_chunk_are_known_before() {
        for expected in [None, Some(1_000), Some(100_000)] {
            let mut body = BodyBuffer::default();
            for len in [100, 0, 50, 3_000, 0, 1, 20_000] {
                let bytes = body.held_bytes_with(len, expected);
                body.push(Bytes::from(vec![1; len]), expected);
                let held = match &body {
                    BodyBuffer::Joined(buffer) => buffer.capacity(),
                    other => other.len_bytes(),
                };
                assert_eq!(bytes, held, "{len} {expected:?}");
            }
        }
    }

    #[test]
    fn capacity_is_bounded_by_received_bytes() {
        assert_eq!(capacity_bytes(100, Some(u64::MAX)), 100 * MAX_OVERALLOCATION);
        assert_eq!(capacity_bytes(100, Some(500)), 500);
        assert_eq!(capacity_bytes(100, Some(5)), 100);
        assert_eq!(capacity_bytes(100, None), 100);
    }
}
