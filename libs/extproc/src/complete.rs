//! A request of which all was seen, and how it goes on from here.

use bytes::Bytes;
use signalbox_intake::splice_model;
use smallvec::smallvec;

use crate::buffers::Held;
use crate::destination::Destination;
use crate::event::{Action, Actions};
use crate::guard::{Panicked, Place, guarded};
use crate::head::Head;
use crate::reply::{self, Direction, Ending, Route};
use crate::response::Expected;

/// A request that is decided about.
#[derive(Debug)]
pub(crate) struct Complete {
    pub(crate) body: Bytes,
    pub(crate) held: Option<Held>,
    pub(crate) end: End,
    /// Where the model stands in the body, and what is to stand there.
    pub(crate) splice: Option<(std::ops::Range<usize>, String)>,
    pub(crate) expected: Expected,
}

/// Where a request ended, and with it where its answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// At its headers, or nothing else will be seen before they are answered.
    Headers,
    /// At the last chunk of its body.
    Body,
    /// At its trailers.
    Trailers,
    /// At a body that came in one message.
    OneMessage,
    /// The same, of which more follows that goes to the endpoint unseen. Where it makes no sense by itself it goes by load.
    Part,
}

/// What becomes of a request that has a destination.
pub(crate) struct Sent {
    pub(crate) actions: Actions,
    /// Its body, until the gateway has it.
    pub(crate) held: Option<Held>,
    pub(crate) expected: Expected,
}

impl Complete {
    /// Tells the gateway where it goes, and with which body.
    pub(crate) fn send(self, destination: &Destination, head: &mut Head) -> Sent {
        let Self { body, held, end, splice, expected } = self;
        let mut actions = Actions::new();
        let other = splice.and_then(|(span, model)| {
            let other = guarded(Place::Rewrite, || splice_model(expected.api, &body, &span, &model));
            other.inspect_err(|Panicked| actions.push(Action::Panicked)).ok()
        });
        let ending_here = std::mem::take(&mut head.controls.ending_here);
        let route = Route { destination, request_id: head.made_id(), ending_here, body_bytes: None };
        actions.extend(match end {
            End::Headers => smallvec![Action::Reply(route.with_headers())],
            End::OneMessage => {
                let body_bytes = other.as_ref().map(Bytes::len);
                smallvec![Action::Reply(Route { body_bytes, ..route }.with_body(other))]
            }
            // How long it is with the rest of it, nobody knows.
            End::Part => smallvec![Action::Reply(route.with_body(other))],
            End::Body => stream(route, other.unwrap_or(body), Ending::Last),
            End::Trailers => {
                let mut actions = stream(route, other.unwrap_or(body), Ending::More);
                actions.push(Action::Reply(reply::trailers(Direction::Request)));
                actions
            }
        });
        Sent { actions, held, expected }
    }
}

/// The route, then the body.
fn stream(route: Route<'_>, body: Bytes, ending: Ending) -> Actions {
    let body_bytes = (!body.is_empty()).then_some(body.len());
    let mut actions: Actions = smallvec![Action::Reply(Route { body_bytes, ..route }.with_headers())];
    // An empty chunk is of use only where it carries the end.
    if ending == Ending::Last || !body.is_empty() {
        actions.extend(reply::chunks(Direction::Request, body, ending).map(Action::Reply));
    }
    actions
}
