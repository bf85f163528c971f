//! The response's half of a conversation: everything passes at once, nothing is kept but what a renamed model may begin with.

use bytes::{Bytes, BytesMut};
use signalbox_intake::Api;
use signalbox_intake::answer::{AnswerKind, Renamer, UsageReader};
use signalbox_protos::envoy::service::ext_proc::v3::{HttpBody, HttpHeaders};

use crate::destination::Announcement;
use crate::event::{Action, Actions};
use crate::guard::{Panicked, Place, guarded};
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
        let mut actions = Actions::new();
        self.read(&message.body, &mut actions);
        match modes.response_echo() {
            Echo::Pieces => self.send_back(message.body, ending, &mut actions),
            Echo::One => self.answer(&message.body, (ending, Length::Untold), &mut actions),
            Echo::Whole => self.answer(&message.body, (Ending::Last, Length::Told), &mut actions),
            Echo::Part => {
                let length = if ending == Ending::Last { Length::Told } else { Length::Untold };
                self.answer(&message.body, (Ending::Last, length), &mut actions);
            }
        }
        if !empty && matches!(self.stage, Stage::Awaited | Stage::Started) {
            self.stage = Stage::Flowing;
            actions.push(Action::FirstChunk);
        }
        self.end(ending, &mut actions);
        actions
    }

    /// Reads of it what was used.
    fn read(&mut self, chunk: &[u8], actions: &mut Actions) {
        let Some(usage) = &mut self.usage else { return };
        if let Err(Panicked) = guarded(Place::Answer, || usage.push(chunk)) {
            self.usage = None;
            actions.push(Action::Panicked);
        }
    }

    /// The chunk with the client's name of the model in it, up to what is held back of it.
    fn renamed(&mut self, chunk: Bytes, ending: Ending, actions: &mut Actions) -> Bytes {
        let Some(renamer) = &mut self.renamer else { return chunk };
        match guarded(Place::Rename, || renamer.push(chunk.clone(), ending == Ending::Last)) {
            Ok(pieces) => joined(&pieces),
            Err(Panicked) => {
                self.renamer = None;
                actions.push(Action::Panicked);
                chunk
            }
        }
    }

    /// Sends a chunk back.
    fn send_back(&mut self, chunk: Bytes, ending: Ending, actions: &mut Actions) {
        let is_renamed = self.renamer.is_some();
        let chunk = self.renamed(chunk, ending, actions);
        // Of a chunk of which all is held back nothing need be said.
        if ending == Ending::Last || !chunk.is_empty() || !is_renamed {
            actions.extend(reply::chunks(Direction::Response, chunk, ending).map(Action::Reply));
        }
    }

    /// The one answer to a chunk. What may become a name comes with the answer to the next one.
    fn answer(&mut self, chunk: &Bytes, (ending, length): (Ending, Length), actions: &mut Actions) {
        let other = self.renamed(chunk.clone(), ending, actions);
        actions.push(Action::Reply(match other == *chunk {
            true => reply::nod(Direction::Response),
            false => reply::another_body(Direction::Response, other, length),
        }));
    }

    /// What is held back goes before the trailers, where they can have something before them: elsewhere a body that breaks off within a
    /// name loses its beginning.
    pub(crate) fn trailers(&mut self, modes: Modes) -> Actions {
        let mut actions = Actions::new();
        let rest = self.renamed(Bytes::new(), Ending::Last, &mut actions);
        if !rest.is_empty() && modes.response_echo() == Echo::Pieces {
            actions.extend(reply::chunks(Direction::Response, rest, Ending::More).map(Action::Reply));
        }
        actions.push(Action::Reply(reply::trailers(Direction::Response)));
        self.end(Ending::Last, &mut actions);
        actions
    }

    fn end(&mut self, ending: Ending, actions: &mut Actions) {
        if ending == Ending::Last && self.stage != Stage::Ended {
            self.stage = Stage::Ended;
            let usage = self.usage.take().map(|usage| guarded(Place::Answer, || usage.usage()));
            actions.extend(match usage {
                Some(Ok(usage)) => usage.map(Action::Usage),
                Some(Err(Panicked)) => Some(Action::Panicked),
                None => None,
            });
            actions.push(Action::ResponseEnded);
        }
    }
}

/// The pieces as one, which is sent as one message: a copy where there are several.
fn joined(pieces: &[Bytes]) -> Bytes {
    if let [piece] = pieces {
        return piece.clone();
    }
    let mut all = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    pieces.iter().for_each(|piece| all.extend_from_slice(piece));
    all.freeze()
}
