//! Looks for the model in a body that passes unread.

use bytes::Bytes;
use signalbox_intake::{Api, named_model};

use crate::body::budget::BodyReservation;
use crate::body::buffer::BodyBuffer;
use crate::config::Config;
use crate::fixed_model::{Fixed, check_fixed_model};
use crate::headers::request::RequestHeaders;
use crate::panic_guard::{GuardedStep, Panicked, catch_panic};
use crate::refusal::Refusal;

/// A body that passes unread, as far as it is known, until the model is found: most bodies name it in their first chunk.
#[derive(Debug)]
pub(super) struct PassingBody {
    api: Api,
    /// Why the model's name stays as it is.
    fixed: Fixed,
    held: BodyBuffer,
    reservation: BodyReservation,
}

/// What a chunk shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Search {
    /// The model was not found yet.
    GoesOn,
    /// The model was found and may pass, or will not be found: the body names none, cannot be read, or exceeds the body
    /// limit or the budget.
    Ended,
    Refused(Refusal),
    Panicked,
}

impl PassingBody {
    /// Returns an empty body of `api`.
    pub(super) fn new(api: Api, fixed: Fixed, config: &Config) -> Self {
        let reservation = config.body_budget.start_search();
        Self { api, fixed, held: BodyBuffer::default(), reservation }
    }

    /// Returns the length of what is held in bytes.
    pub(super) fn len_bytes(&self) -> usize {
        self.held.len_bytes()
    }

    /// Returns whether the model is looked for when a chunk of this length arrives: in the first one, and when it completes the
    /// body.
    pub(super) fn is_searched_with(
        &self,
        chunk_bytes: usize,
        is_last: bool,
        headers: &RequestHeaders,
    ) -> bool {
        let is_first = self.held.len_bytes() == 0 && !headers.is_compressed();
        is_last || is_first || self.is_complete_with(chunk_bytes, headers)
    }

    /// Returns whether the announced bytes are there with so many more. An engine begins then, even if the end of the stream
    /// follows alone.
    fn is_complete_with(&self, chunk_bytes: usize, headers: &RequestHeaders) -> bool {
        let bytes = (self.held.len_bytes() + chunk_bytes) as u64;
        headers.content_length_bytes.is_some_and(|announced| bytes >= announced)
    }

    /// Adds a chunk and looks for the model in the first chunk, and when the body is complete.
    pub(super) fn push(
        &mut self,
        chunk: Bytes,
        is_last: bool,
        headers: &RequestHeaders,
        config: &Config,
    ) -> Search {
        let searches = self.is_searched_with(chunk.len(), is_last, headers);
        let announced_bytes = headers.content_length_bytes;
        let held_bytes = self.held.held_bytes_with(chunk.len(), announced_bytes);
        if held_bytes > config.body_limit_bytes || self.reservation.resize(held_bytes).is_err() {
            return Search::Ended;
        }
        self.held.push(chunk, announced_bytes);
        if !searches {
            return Search::GoesOn;
        }
        let is_last = is_last || self.is_complete_with(0, headers);
        match catch_panic(GuardedStep::RequestBody, || self.find_model(headers, config)) {
            Ok(Some(model)) => match check_fixed_model(&model, self.fixed, config) {
                Ok(()) => Search::Ended,
                Err(refusal) => Search::Refused(refusal),
            },
            Ok(None) if is_last => Search::Ended,
            Ok(None) => Search::GoesOn,
            Err(Panicked) => Search::Panicked,
        }
    }

    fn find_model(&mut self, headers: &RequestHeaders, config: &Config) -> Option<String> {
        if !headers.is_compressed() {
            return named_model(self.api, self.held.as_bytes());
        }
        let body = std::mem::take(&mut self.held).into_bytes();
        let mut reserve = |bytes| self.reservation.grow(bytes).is_ok();
        let decoded = headers.encodings.as_ref()?.decode(&body, config.body_limit_bytes, &mut reserve);
        named_model(self.api, &decoded.ok()?)
    }
}
