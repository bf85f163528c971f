//! The response's half of a conversation. Everything passes immediately; only the possible start of a model
//! name is held back.

use bytes::{Bytes, BytesMut};
use signalbox_intake::Api;
use signalbox_intake::response::{ModelRenamer, OutputForm, ResponseFormat, ResponseReader};
use signalbox_protos::envoy::service::ext_proc::v3::{HttpBody, HttpHeaders};
use signalbox_types::ResponseKey;

use crate::body::modes::{BodyModes, BodyReply};
use crate::destination::ResponseHeader;
use crate::event::{Action, Actions, FirstOutput};
use crate::headers::response as response_headers;
use crate::panic_guard::{GuardedStep, Panicked, catch_panic};
use crate::reply::{self, ContentLength, Direction, Ending};

/// How much of a response has passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing.
    #[default]
    Awaited,
    /// Its headers.
    Started,
    /// Part of its body.
    Streaming,
    /// All of it.
    Ended,
}

/// What is known about a response before it arrives.
#[derive(Debug, Default)]
pub(crate) struct ExpectedResponse {
    /// The API of the request.
    pub(crate) api: Api,
    /// The model that serves the request, and the name that the client asked for, if they differ.
    pub(crate) renamed: Option<(String, String)>,
    /// Whether the endpoint keeps the response for clients that name it again.
    pub(crate) is_stored: bool,
    /// The response that the request deletes.
    pub(crate) deletes: Option<ResponseKey>,
}

/// The state of one response.
#[derive(Debug, Default)]
pub(crate) struct Response {
    pub(crate) stage: Stage,
    expected: ExpectedResponse,
    /// HTTP status; `None` until the headers have arrived, and if it cannot be read.
    status: Option<u16>,
    /// Reader of the body; `None` if the body cannot be read.
    reader: Option<ResponseReader>,
    has_body: bool,
    has_reported_output: bool,
    has_reported_error: bool,
    has_reported_id: bool,
    renamer: Option<ModelRenamer>,
}

impl Response {
    pub(crate) fn has_body(&self) -> bool {
        self.has_body
    }

    pub(crate) fn set_expected(&mut self, expected: ExpectedResponse) {
        self.expected = expected;
    }

    /// Handles the headers. `session_header` returns the header to add to a response with the given status.
    pub(crate) fn on_headers(
        &mut self,
        message: &HttpHeaders,
        session_header: impl FnOnce(Option<u16>) -> Option<ResponseHeader>,
    ) -> Actions {
        let mut actions = Actions::new();
        if self.stage != Stage::Awaited {
            actions.push(Action::Reply(reply::headers(Direction::Response)));
        } else {
            self.stage = Stage::Started;
            self.status = response_headers::status(message.headers.as_ref());
            self.start_readers(response_headers::response_format(message.headers.as_ref()));
            actions.push(Action::Reply(match session_header(self.status) {
                Some(header) => reply::add_response_header(&header),
                None => reply::headers(Direction::Response),
            }));
            actions.push(Action::ResponseStarted { status: self.status });
            let has_succeeded = self.status.is_some_and(|status| (200..300).contains(&status));
            actions.extend(self.expected.deletes.filter(|_| has_succeeded).map(Action::ResponseDeleted));
        }
        self.end_if_last(Ending::of(message.end_of_stream), &mut actions);
        actions
    }

    fn start_readers(&mut self, format: ResponseFormat) {
        self.reader = ResponseReader::new(self.expected.api, format);
        let renamed = self.expected.renamed.as_ref();
        self.renamer = renamed
            .and_then(|(target, requested)| ModelRenamer::new(self.expected.api, format, target, requested));
    }

    pub(crate) fn on_body(&mut self, message: HttpBody, body_modes: BodyModes) -> Actions {
        let ending = Ending::of(message.end_of_stream);
        let empty = message.body.is_empty();
        let mut actions = Actions::new();
        self.read(&message.body, &mut actions);
        match body_modes.response_body_reply() {
            BodyReply::Chunks => self.reply_in_chunks(message.body, ending, &mut actions),
            BodyReply::SingleMessage => {
                self.reply_once(&message.body, (ending, ContentLength::Unchanged), &mut actions)
            }
            BodyReply::WholeBody => {
                self.reply_once(&message.body, (Ending::Last, ContentLength::Set), &mut actions)
            }
            BodyReply::PartialBody => {
                let length =
                    if ending == Ending::Last { ContentLength::Set } else { ContentLength::Unchanged };
                self.reply_once(&message.body, (Ending::Last, length), &mut actions);
            }
        }
        let is_part = ending == Ending::More && body_modes.response_body_reply() == BodyReply::PartialBody;
        let shows_nothing = |reader: &ResponseReader| reader.output().is_none() && reader.error().is_none();
        if is_part && self.reader.as_ref().is_some_and(shows_nothing) {
            // The rest passes unseen, so what it would show stays unknown.
            self.reader = None;
        }
        if !empty {
            self.has_body = true;
            if matches!(self.stage, Stage::Awaited | Stage::Started) {
                self.stage = Stage::Streaming;
            }
            self.report_progress(body_modes, &mut actions);
        }
        if ending == Ending::Last {
            self.end_reading(body_modes, &mut actions);
        }
        self.end_if_last(ending, &mut actions);
        actions
    }

    /// Reports the first output, the id and the first error in what was read of the body, which is not empty.
    fn report_progress(&mut self, body_modes: BodyModes, actions: &mut Actions) {
        // Nothing in the body of a failure is output, and its status is known.
        if self.status.is_some_and(|status| !(200..300).contains(&status)) {
            return;
        }
        if !self.has_reported_output
            && let Some(output) = self.first_output(body_modes)
        {
            self.has_reported_output = true;
            actions.push(Action::FirstOutput(output));
        }
        if self.expected.is_stored
            && !self.has_reported_id
            && let Some(response) = self.reader.as_ref().and_then(ResponseReader::response)
        {
            self.has_reported_id = true;
            actions.push(Action::ResponseStored(response));
        }
        if !self.has_reported_error
            && let Some(error) = self.reader.as_ref().and_then(ResponseReader::error)
        {
            self.has_reported_error = true;
            actions.push(Action::ErrorReported { status: error.status });
        }
    }

    /// Returns the first output in what was read of the body, which is not empty.
    fn first_output(&self, body_modes: BodyModes) -> Option<FirstOutput> {
        let Some(reader) = &self.reader else { return Some(FirstOutput::Unread) };
        let form = reader.output()?;
        Some(match form {
            _ if self.status.is_none() => FirstOutput::Unread,
            OutputForm::Event if !body_modes.buffers_response_body() => FirstOutput::Streamed,
            OutputForm::Event | OutputForm::Document => FirstOutput::Whole,
        })
    }

    /// Reads the end of the body.
    fn end_reading(&mut self, body_modes: BodyModes, actions: &mut Actions) {
        let Some(reader) = &mut self.reader else { return };
        match catch_panic(GuardedStep::ResponseBody, || reader.end()) {
            Ok(()) => self.report_progress(body_modes, actions),
            Err(Panicked) => {
                self.reader = None;
                actions.push(Action::Panicked);
            }
        }
    }

    /// Reads a chunk.
    fn read(&mut self, chunk: &[u8], actions: &mut Actions) {
        let Some(reader) = &mut self.reader else { return };
        if let Err(Panicked) = catch_panic(GuardedStep::ResponseBody, || reader.push(chunk)) {
            self.reader = None;
            actions.push(Action::Panicked);
        }
    }

    /// Restores the requested model name in a chunk; returns what may pass on.
    fn rename_model(&mut self, chunk: Bytes, ending: Ending, actions: &mut Actions) -> Bytes {
        let Some(renamer) = &mut self.renamer else { return chunk };
        match catch_panic(GuardedStep::ResponseModel, || renamer.push(chunk.clone(), ending == Ending::Last))
        {
            Ok(pieces) => concat(&pieces),
            Err(Panicked) => {
                self.renamer = None;
                actions.push(Action::Panicked);
                chunk
            }
        }
    }

    /// Replies with the chunk itself.
    fn reply_in_chunks(&mut self, chunk: Bytes, ending: Ending, actions: &mut Actions) {
        let is_renamed = self.renamer.is_some();
        let chunk = self.rename_model(chunk, ending, actions);
        // A chunk that is held back completely needs no reply.
        if ending == Ending::Last || !chunk.is_empty() || !is_renamed {
            actions.extend(reply::chunks(Direction::Response, chunk, ending).map(Action::Reply));
        }
    }

    /// Replies to a chunk with one message. Bytes that may become a name are sent with the reply to the next
    /// chunk.
    fn reply_once(
        &mut self,
        chunk: &Bytes,
        (ending, length): (Ending, ContentLength),
        actions: &mut Actions,
    ) {
        let renamed_chunk = self.rename_model(chunk.clone(), ending, actions);
        actions.push(Action::Reply(match renamed_chunk == *chunk {
            true => reply::pass_body(Direction::Response),
            false => reply::replace_body(Direction::Response, renamed_chunk, length),
        }));
    }

    /// Sends the bytes that were held back before the trailers, in modes that allow it. In other modes, a
    /// body that ends within a name loses its last bytes.
    pub(crate) fn on_trailers(&mut self, body_modes: BodyModes) -> Actions {
        let mut actions = Actions::new();
        let rest = self.rename_model(Bytes::new(), Ending::Last, &mut actions);
        if !rest.is_empty() && body_modes.response_body_reply() == BodyReply::Chunks {
            actions.extend(reply::chunks(Direction::Response, rest, Ending::More).map(Action::Reply));
        }
        actions.push(Action::Reply(reply::trailers(Direction::Response)));
        if self.has_body {
            self.end_reading(body_modes, &mut actions);
        }
        self.end_if_last(Ending::Last, &mut actions);
        actions
    }

    fn end_if_last(&mut self, ending: Ending, actions: &mut Actions) {
        if ending == Ending::Last && self.stage != Stage::Ended {
            self.stage = Stage::Ended;
            let reader = self.reader.take();
            let usage = reader.map(|reader| catch_panic(GuardedStep::ResponseBody, || reader.usage()));
            actions.extend(match usage {
                Some(Ok(usage)) => usage.map(Action::Usage),
                Some(Err(Panicked)) => Some(Action::Panicked),
                None => None,
            });
            actions.push(Action::ResponseEnded);
        }
    }
}

/// Joins the pieces for a single message; copies them only if there are several.
fn concat(pieces: &[Bytes]) -> Bytes {
    if let [piece] = pieces {
        return piece.clone();
    }
    let mut all = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    pieces.iter().for_each(|piece| all.extend_from_slice(piece));
    all.freeze()
}
