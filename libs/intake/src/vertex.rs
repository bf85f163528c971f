//! Bodies of Vertex AI's prediction service: JSON in a `google.api.HttpBody`, alone or in a request, in a message of gRPC.

use std::ops::Range;

use smallvec::{SmallVec, smallvec};

use crate::error::IntakeError;
use crate::openai;
use crate::parse::{Intake, Reading};
use crate::splice::{Edits, edited};
use crate::wire::{FRAME_HEAD_BYTES, Place, head_of, only_field, only_message};

/// The field of an `HttpBody` that has the bytes (`data`), and that of a request that has the `HttpBody` (`http_body`).
pub(crate) const FIELD: u64 = 2;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// `ChatCompletionsRequest`, `RawPredictRequest` or `StreamRawPredictRequest`: an `HttpBody` within.
    Request,
    /// An `HttpBody`.
    Answer,
}

/// What a message carries, and where.
pub(crate) struct Payload<'a> {
    body: &'a [u8],
    /// The fields around it, from the outermost to its own.
    places: SmallVec<[Place; 2]>,
}

/// Reads the body of a chat.
pub(crate) fn chat(body: &[u8], how: &Reading<'_>) -> Result<Intake, IntakeError> {
    read(body, |json| openai::chat(json, how))
}

/// Reads the body of OpenAI responses.
pub(crate) fn predict(body: &[u8], how: &Reading<'_>) -> Result<Intake, IntakeError> {
    read(body, |json| openai::responses(json, how))
}

fn read(
    body: &[u8],
    reader: impl FnOnce(&[u8]) -> Result<Intake, IntakeError>,
) -> Result<Intake, IntakeError> {
    let Some(payload) = Payload::of(body, Message::Request)? else { return reader(b"") };
    let json = payload.range();
    let mut intake = reader(&body[json.clone()])?;
    intake.model_span = intake.model_span.map(|span| json.start + span.start..json.start + span.end);
    Ok(intake)
}

impl<'a> Payload<'a> {
    /// That of the one message in `body`; nothing where the message has none.
    ///
    /// # Errors
    /// [`IntakeError::Grpc`] where it is no such message.
    pub(crate) fn of(body: &'a [u8], message: Message) -> Result<Option<Self>, IntakeError> {
        only_message(body)?;
        let (mut places, mut within) = (SmallVec::new(), FRAME_HEAD_BYTES..body.len());
        for _ in 0..message.depth() {
            let Some(place) = only_field(body, within, FIELD)? else { return Ok(None) };
            within = place.value.clone();
            places.push(place);
        }
        Ok(Some(Self { body, places }))
    }

    /// Where it stands.
    pub(crate) fn range(&self) -> Range<usize> {
        self.places.last().map_or(0..0, |place| place.value.clone())
    }

    fn holds(&self, span: &Range<usize>) -> bool {
        let own = self.range();
        own.start <= span.start && span.end <= own.end
    }

    /// The body with these changes, which are within the payload, and with the lengths that they make.
    pub(crate) fn edited(&self, mut edits: Edits) -> bytes::Bytes {
        let removed: usize = edits.iter().map(|(range, _)| range.len()).sum();
        let added: usize = edits.iter().map(|(_, text)| text.len()).sum();
        let mut len = self.range().len() + added - removed;
        for (depth, place) in self.places.iter().enumerate().rev() {
            let around = match depth {
                0 => self.body.len() - FRAME_HEAD_BYTES,
                depth => self.places[depth - 1].value.len(),
            };
            let head = head_of(FIELD, len);
            len += around - place.head.len() - place.value.len() + head.len();
            edits.push((place.head.clone(), head.into()));
        }
        // Bodies are bounded, far below what the four bytes can say.
        let frame_head = [&[0][..], &(len as u32).to_be_bytes()].concat();
        edits.push((0..FRAME_HEAD_BYTES, frame_head.into()));
        edits.sort_by_key(|(range, _)| range.start);
        edited(self.body, &edits)
    }
}

impl Message {
    fn depth(self) -> usize {
        match self {
            Self::Request => 2,
            Self::Answer => 1,
        }
    }
}

/// A body of a request with the bytes at `span` replaced by `text`, and with the lengths that this makes. What is no such body stays as
/// it is.
pub(crate) fn spliced(body: &bytes::Bytes, span: Range<usize>, text: String) -> bytes::Bytes {
    match Payload::of(body, Message::Request) {
        Ok(Some(payload)) if payload.holds(&span) => payload.edited(smallvec![(span, text.into())]),
        _ => body.clone(),
    }
}
