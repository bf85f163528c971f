//! The response's half of a conversation: everything passes at once, nothing is kept.

use signalbox_protos::envoy::service::ext_proc::v3::{HttpBody, HttpHeaders};

use crate::destination::Announcement;
use crate::event::{Action, Actions};
use crate::head;
use crate::modes::{Echo, Modes};
use crate::reply::{self, Direction, Ending};

/// How far a response has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Response {
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

impl Response {
    pub(crate) fn headers(&mut self, message: &HttpHeaders, announced: Option<&Announcement>) -> Actions {
        let mut actions = Actions::new();
        actions.push(Action::Reply(match announced {
            Some(announcement) => reply::announce(announcement),
            None => reply::headers(Direction::Response),
        }));
        if *self == Self::Awaited {
            *self = Self::Started;
            let status = head::status(message.headers.as_ref());
            actions.push(Action::ResponseStarted { status });
        }
        self.end(Ending::of(message.end_of_stream), &mut actions);
        actions
    }

    pub(crate) fn body(&mut self, message: HttpBody, modes: Modes) -> Actions {
        let ending = Ending::of(message.end_of_stream);
        let empty = message.body.is_empty();
        let mut actions = Actions::new();
        match modes.echo() {
            Echo::Chunk => {
                let chunks = reply::chunks(Direction::Response, message.body, ending);
                actions.extend(chunks.map(Action::Reply));
            }
            Echo::Nod => actions.push(Action::Reply(reply::nod())),
        }
        if !empty && matches!(self, Self::Awaited | Self::Started) {
            *self = Self::Flowing;
            actions.push(Action::FirstChunk);
        }
        self.end(ending, &mut actions);
        actions
    }

    pub(crate) fn trailers(&mut self) -> Actions {
        let mut actions = Actions::new();
        actions.push(Action::Reply(reply::trailers(Direction::Response)));
        self.end(Ending::Last, &mut actions);
        actions
    }

    fn end(&mut self, ending: Ending, actions: &mut Actions) {
        if ending == Ending::Last && *self != Self::Ended {
            *self = Self::Ended;
            actions.push(Action::ResponseEnded);
        }
    }
}
