//! Restores the requested model name in gRPC messages, and adjusts their lengths.

use bytes::{Bytes, BytesMut};
use smallvec::smallvec;

use crate::protobuf::grpc_frame::frame_len_bytes;
use crate::protobuf::http_body::{Envelope, Payload};
use crate::response::model_name::text::{Pieces, TextRenamer, push_nonempty};

/// Maximum length of a buffered message with its header. It bounds the memory that a response costs.
const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// Replaces names in each `google.api.HttpBody` of a response that arrives in pieces. Messages that are
/// longer than the limit, compressed, or of another type pass unchanged.
#[derive(Debug)]
pub(crate) struct GrpcRenamer {
    text_renamer: TextRenamer,
    /// The message that is not complete yet.
    held: BytesMut,
    /// Bytes still to come of a message that is too long.
    passthrough_bytes: usize,
    /// Whether message boundaries are no longer known.
    is_out_of_sync: bool,
}

impl GrpcRenamer {
    pub(crate) fn new(text_renamer: TextRenamer) -> Self {
        Self { text_renamer, held: BytesMut::new(), passthrough_bytes: 0, is_out_of_sync: false }
    }

    pub(crate) fn push(&mut self, piece: Bytes, is_last: bool) -> Pieces {
        let mut out = Pieces::new();
        if self.is_out_of_sync {
            push_nonempty(&mut out, piece);
            return out;
        }
        self.held.extend_from_slice(&piece);
        while let Some(message) = self.next_output() {
            push_nonempty(&mut out, message);
        }
        if is_last {
            self.is_out_of_sync = !self.held.is_empty();
            push_nonempty(&mut out, self.held.split().freeze());
        }
        out
    }

    /// Returns the next message, or the available part of one that is too long; `None` if there is nothing to
    /// pass on yet.
    fn next_output(&mut self) -> Option<Bytes> {
        if self.passthrough_bytes == 0 {
            let len = frame_len_bytes(&self.held)?;
            if len <= MAX_MESSAGE_BYTES {
                return (len <= self.held.len())
                    .then(|| self.held.split_to(len).freeze())
                    .map(|m| self.rename(m));
            }
            self.passthrough_bytes = len;
        }
        let len = self.passthrough_bytes.min(self.held.len());
        self.passthrough_bytes -= len;
        (len > 0).then(|| self.held.split_to(len).freeze())
    }

    fn rename(&mut self, message: Bytes) -> Bytes {
        let Ok(Some(payload)) = Payload::find(&message, Envelope::Response) else { return message };
        let range = payload.range();
        let pieces = self.text_renamer.push(message.slice(range.clone()), true);
        match &pieces[..] {
            [] | [_] => message,
            pieces => payload.with_edits(smallvec![(range, pieces.concat().into())]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protobuf::fields::field_header;

    fn frame(data: &str) -> Vec<u8> {
        let message =
            [b"\x0a\x04text", &field_header(2, data.len())[..], data.as_bytes(), b"\x1a\0"].concat();
        [&[0], &(message.len() as u32).to_be_bytes()[..], &message].concat()
    }

    fn rename(body: &[u8], piece_bytes: usize) -> Vec<u8> {
        let mut renamer = GrpcRenamer::new(TextRenamer::new("t", "requested"));
        let mut out = Vec::new();
        let mut take = |pieces: Pieces| pieces.iter().for_each(|piece| out.extend_from_slice(piece));
        body.chunks(piece_bytes).for_each(|piece| take(renamer.push(Bytes::copy_from_slice(piece), false)));
        take(renamer.push(Bytes::new(), true));
        out
    }

    #[test]
    fn names_and_lengths_are_replaced_in_messages() {
        let long = "x".repeat(117);
        let [before, after] = ["t", "requested"].map(|name| {
            let events = format!(
                "data: {{\"model\": \"{name}\"}}\n\ndata: {{\"model\":\"{name}\",\"a\":\"{long}\"}}\n\n"
            );
            [frame(&events), frame("data: [DONE]"), frame("")].concat()
        });
        for piece_bytes in [1, 2, 7, 100, usize::MAX] {
            assert_eq!(after, rename(&before, piece_bytes), "{piece_bytes}");
        }
    }

    #[test]
    fn incomplete_compressed_and_long_messages_pass_unchanged() {
        let named = frame(r#"{"model":"t"}"#);
        let mut compressed = named.clone();
        compressed[0] = 1;
        let long = frame(&format!("{{\"model\":\"t\",\"a\":\"{}\"}}", "x".repeat(MAX_MESSAGE_BYTES)));
        for piece_bytes in [7, 10_000, usize::MAX] {
            for passing in [&compressed, &long] {
                let after = rename(&[&passing[..], &named].concat(), piece_bytes);
                assert_eq!([&passing[..], &frame(r#"{"model":"requested"}"#)].concat(), after);
            }
            for len in 1..named.len() {
                assert_eq!(named[..len], rename(&named[..len], piece_bytes));
            }
        }
        let mut renamer = GrpcRenamer::new(TextRenamer::new("t", "requested"));
        let passed: Vec<u8> = named
            .chunks(9)
            .flat_map(|piece| renamer.push(Bytes::copy_from_slice(piece), true).concat())
            .collect();
        assert_eq!(named, passed);
    }
}
