//! The response's half of a conversation: everything passes at once, nothing is kept but what a renamed model may begin with.

use bytes::{Bytes, BytesMut};
use signalbox_intake::Api;
use signalbox_intake::answer::{AnswerKind, Renamer, UsageReader};
use signalbox_protos::envoy::service::ext_proc::v3::{HttpBody, HttpHeaders, ProcessingResponse};

use crate::destination::Announcement;
use crate::event::{Action, Actions};
use crate::head;
use crate::modes::{Echo, Modes};
use crate::reply::{self, Direction, Ending, Length};

/// How far a response has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing came.
    #[default]
    Awaited,
    /// Its headers passed.
    Started,
    /// Some of its body passed.
    Flowing,
    /// All of it passed.
    Ended,
}

/// What is known of a response before it comes.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    /// What was asked.
    pub(crate) api: Api,
    /// The model that answers, and the name that the client knows it by, if that is another one.
    pub(crate) renamed: Option<(String, String)>,
}

/// One response.
#[derive(Debug, Default)]
pub(crate) struct Response {
    pub(crate) stage: Stage,
    expected: Expected,
    usage: Option<UsageReader>,
    renamer: Option<Renamer>,
}

impl Response {
    pub(crate) fn expect(&mut self, expected: Expected) {
        self.expected = expected;
    }

    pub(crate) fn headers(&mut self, message: &HttpHeaders, announced: Option<&Announcement>) -> Actions {
        let mut actions = Actions::new();
        actions.push(Action::Reply(match announced {
            Some(announcement) => reply::announce(announcement),
            None => reply::headers(Direction::Response),
        }));
        if self.stage == Stage::Awaited {
            self.stage = Stage::Started;
            self.read_as(head::answer_kind(message.headers.as_ref()));
            let status = head::status(message.headers.as_ref());
            actions.push(Action::ResponseStarted { status });
        }
        self.end(Ending::of(message.end_of_stream), &mut actions);
        actions
    }

    fn read_as(&mut self, kind: AnswerKind) {
        if kind == AnswerKind::Unread {
            return;
        }
        self.usage = (self.expected.api != Api::Opaque).then(|| UsageReader::new(self.expected.api, kind));
        let renamed = self.expected.renamed.as_ref();
        self.renamer =
            renamed.and_then(|(target, asked)| Renamer::new(self.expected.api, kind, target, asked));
    }

    pub(crate) fn body(&mut self, message: HttpBody, modes: Modes) -> Actions {
        let ending = Ending::of(message.end_of_stream);
        let empty = message.body.is_empty();
        if let Some(usage) = &mut self.usage {
            usage.push(&message.body);
        }
        let mut actions = Actions::new();
        match modes.response_echo() {
            Echo::Pieces => self.send_back(message.body, ending, &mut actions),
            Echo::One => actions.push(Action::Reply(self.answer(&message.body, ending, Length::Untold))),
            Echo::Whole => {
                actions.push(Action::Reply(self.answer(&message.body, Ending::Last, Length::Told)));
            }
        }
        if !empty && matches!(self.stage, Stage::Awaited | Stage::Started) {
            self.stage = Stage::Flowing;
            actions.push(Action::FirstChunk);
        }
        self.end(ending, &mut actions);
        actions
    }

    /// Sends a chunk back, with the client's name of the model in it.
    fn send_back(&mut self, chunk: Bytes, ending: Ending, actions: &mut Actions) {
        let Some(renamer) = &mut self.renamer else {
            return actions.extend(reply::chunks(Direction::Response, chunk, ending).map(Action::Reply));
        };
        let mut pieces = renamer.push(chunk, ending == Ending::Last);
        let last = pieces.pop().unwrap_or_default();
        for piece in pieces {
            actions.extend(reply::chunks(Direction::Response, piece, Ending::More).map(Action::Reply));
        }
        // An empty chunk is of use only where it carries the end.
        if ending == Ending::Last || !last.is_empty() {
            actions.extend(reply::chunks(Direction::Response, last, ending).map(Action::Reply));
        }
    }

    /// The one answer to a chunk. What may become a name comes with the answer to the next one.
    fn answer(&mut self, chunk: &Bytes, ending: Ending, length: Length) -> ProcessingResponse {
        let Some(renamer) = &mut self.renamer else { return reply::nod(Direction::Response) };
        let mut other = BytesMut::with_capacity(chunk.len());
        let pieces = renamer.push(chunk.clone(), ending == Ending::Last);
        pieces.iter().for_each(|piece| other.extend_from_slice(piece));
        if other == *chunk {
            return reply::nod(Direction::Response);
        }
        reply::another_body(Direction::Response, other.freeze(), length)
    }

    /// What is held back goes before the trailers, where they can have something before them: elsewhere a body that breaks off within a
    /// name loses its beginning.
    pub(crate) fn trailers(&mut self, modes: Modes) -> Actions {
        let mut actions = Actions::new();
        let renamer = self.renamer.as_mut().filter(|_| modes.response_echo() == Echo::Pieces);
        let rest = renamer.map(|renamer| renamer.push(Bytes::new(), true)).unwrap_or_default();
        for piece in rest.into_iter().filter(|piece| !piece.is_empty()) {
            actions.extend(reply::chunks(Direction::Response, piece, Ending::More).map(Action::Reply));
        }
        actions.push(Action::Reply(reply::trailers(Direction::Response)));
        self.end(Ending::Last, &mut actions);
        actions
    }

    fn end(&mut self, ending: Ending, actions: &mut Actions) {
        if ending == Ending::Last && self.stage != Stage::Ended {
            self.stage = Stage::Ended;
            let usage = self.usage.take().and_then(|usage| usage.usage());
            actions.extend(usage.map(Action::Usage));
            actions.push(Action::ResponseEnded);
        }
    }
}
