//! The conversation of one stream.

use bytes::Bytes;
use signalbox_intake::{Api, parse};
use signalbox_protos::envoy::service::ext_proc::v3::processing_request::Request as Message;
use signalbox_protos::envoy::service::ext_proc::v3::{HttpBody, HttpHeaders, ProcessingRequest};
use signalbox_types::Subset;
use smallvec::smallvec;

use crate::body::Body;
use crate::config::Config;
use crate::destination::{Announcement, Destination};
use crate::event::{Action, Actions, Event, Outcome};
use crate::head::Head;
use crate::hint;
use crate::modes::{Modes, RequestBody};
use crate::refusal::Refusal;
use crate::reply::{self, Direction, Ending};
use crate::response::Response;

/// One stream between a gateway and the picker, which is about one HTTP request.
///
/// The picker is silent until the request is complete, answers it with a destination and its own body, and lets the
/// response pass. Whatever is out of order passes unchanged where that can be done, and is ignored where not.
#[derive(Debug)]
pub struct Conversation {
    config: Config,
    modes: Modes,
    head: Head,
    /// The endpoints that the gateway allows.
    subset: Option<Subset>,
    request: Request,
    response: Response,
    /// What the response is to tell the client.
    announcement: Option<Announcement>,
}

/// How far a request has come.
#[derive(Debug, Default)]
enum Request {
    /// Nothing came. A stream may begin with the response.
    #[default]
    Awaited,
    /// Its headers came, its body is coming.
    Arriving(Body),
    /// All of it came; where it goes is being decided.
    Complete(Bytes, End),
    /// It was sent to an endpoint.
    Sent,
    /// The gateway answered it before it was complete, and has no more use for it.
    Overtaken,
    /// It was refused.
    Refused(Refusal),
}

/// Where a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Headers,
    Body,
    Trailers,
}

impl Conversation {
    /// A conversation in which nothing was said.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            modes: Modes::default(),
            head: Head::default(),
            subset: None,
            request: Request::Awaited,
            response: Response::Awaited,
            announcement: None,
        }
    }

    /// Takes what happened; returns what is to be done about it, in order.
    pub fn step(&mut self, event: Event) -> Actions {
        if self.refusal().is_some() {
            return Actions::new();
        }
        match event {
            Event::Message(message) => self.receive(message),
            Event::Picked(picked) => self.send(picked),
        }
    }

    /// The client's or the gateway's id of the request, cut to 128 characters.
    pub fn request_id(&self) -> Option<&str> {
        self.head.request_id.as_deref()
    }

    /// Whether the gateway may leave the response's end off this stream. Known from the first message on.
    pub fn may_hide_response(&self) -> bool {
        self.modes.may_hide_response()
    }

    /// Why the request was refused, if it was.
    pub fn refusal(&self) -> Option<&Refusal> {
        match &self.request {
            Request::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// What became of the request if the stream is over now.
    pub fn outcome(&self) -> Outcome {
        match (&self.request, self.response) {
            (Request::Refused(_), _) => Outcome::Refused,
            (Request::Sent, Response::Ended) => Outcome::Complete,
            (Request::Sent, Response::Awaited) if self.modes.hide_body() => Outcome::Hidden,
            (Request::Sent, Response::Started) if self.modes.may_hide_response() => Outcome::Hidden,
            (Request::Sent, _) => Outcome::Aborted,
            _ => Outcome::Unpicked,
        }
    }

    fn receive(&mut self, message: ProcessingRequest) -> Actions {
        if let Some(told) = message.protocol_config {
            self.modes = told.into();
        }
        match message.request {
            Some(Message::RequestHeaders(headers)) => {
                self.request_headers(&headers, hint::subset(message.metadata_context.as_ref()))
            }
            Some(Message::RequestBody(body)) => self.request_body(body),
            Some(Message::RequestTrailers(_)) => self.request_trailers(),
            Some(Message::ResponseHeaders(headers)) => {
                let announcement = self.announcement.take();
                self.response().headers(&headers, announcement.as_ref())
            }
            Some(Message::ResponseBody(body)) => {
                let modes = self.modes;
                self.response().body(body, modes)
            }
            Some(Message::ResponseTrailers(_)) => self.response().trailers(),
            None => Actions::new(),
        }
    }

    /// The response, of which something came. As nobody but the picker has seen the request before it is complete,
    /// a response to an incomplete one is the gateway's own.
    fn response(&mut self) -> &mut Response {
        if matches!(self.request, Request::Arriving(_)) {
            self.request = Request::Overtaken;
        }
        &mut self.response
    }

    fn request_headers(&mut self, message: &HttpHeaders, subset: Option<Subset>) -> Actions {
        match self.request {
            Request::Awaited => {}
            Request::Sent => return smallvec![Action::Reply(reply::headers(Direction::Request))],
            // Headers came before, and their answer is still to be given.
            _ => return Actions::new(),
        }
        self.subset = subset;
        self.head = Head::of_request(message.headers.as_ref(), &self.config.headers);
        if message.end_of_stream {
            return self.complete(Bytes::new(), self.head.bodiless_api, End::Headers);
        }
        match self.modes.request_body() {
            RequestBody::Awaited => self.await_body(),
            RequestBody::Withheld => self.complete(Bytes::new(), Api::Opaque, End::Headers),
            RequestBody::Unsupported(mode) => self.refuse(Refusal::UnsupportedMode { mode }),
        }
    }

    fn await_body(&mut self) -> Actions {
        let limit_bytes = self.config.body_limit_bytes;
        if self.head.content_length_bytes.is_some_and(|bytes| bytes > limit_bytes as u64) {
            return self.refuse(Refusal::TooLarge { limit_bytes });
        }
        self.request = Request::Arriving(Body::default());
        Actions::new()
    }

    fn request_body(&mut self, message: HttpBody) -> Actions {
        let ending = Ending::of(message.end_of_stream);
        let Request::Arriving(body) = &mut self.request else {
            return self.unexpected_body(message.body, ending);
        };
        let limit_bytes = self.config.body_limit_bytes;
        if body.len_bytes() + message.body.len() > limit_bytes {
            return self.refuse(Refusal::TooLarge { limit_bytes });
        }
        body.push(message.body, self.head.content_length_bytes);
        match ending {
            Ending::Last => self.complete_arrived(End::Body),
            Ending::More => Actions::new(),
        }
    }

    /// A body without headers before it, or one that was not to come: it passes, as nothing depends on it.
    fn unexpected_body(&self, body: Bytes, ending: Ending) -> Actions {
        match self.request {
            Request::Awaited | Request::Sent => {
                reply::chunks(Direction::Request, body, ending).map(Action::Reply).collect()
            }
            _ => Actions::new(),
        }
    }

    fn request_trailers(&mut self) -> Actions {
        match self.request {
            Request::Arriving(_) => self.complete_arrived(End::Trailers),
            Request::Awaited | Request::Sent => {
                smallvec![Action::Reply(reply::trailers(Direction::Request))]
            }
            _ => Actions::new(),
        }
    }

    fn complete_arrived(&mut self, end: End) -> Actions {
        let Request::Arriving(body) = std::mem::take(&mut self.request) else { return Actions::new() };
        let body = body.into_bytes();
        let arrived = body.len();
        match self.head.content_length_bytes {
            Some(said) if self.head.api != Api::Opaque && said > arrived as u64 => {
                let text = format!("request body is cut: {arrived} of {said} bytes arrived");
                self.refuse(Refusal::BadRequest(text))
            }
            _ => self.complete(body, self.head.api, end),
        }
    }

    fn complete(&mut self, body: Bytes, api: Api, end: End) -> Actions {
        match parse(api, &body, self.config.block_bytes) {
            Ok(mut intake) => {
                intake.request.subset = self.subset.take();
                intake.request.headers = std::mem::take(&mut self.head.wanted);
                self.request = Request::Complete(body, end);
                smallvec![Action::Pick(intake)]
            }
            Err(error) => self.refuse(Refusal::BadRequest(error.to_string())),
        }
    }

    fn send(&mut self, picked: Result<Destination, Refusal>) -> Actions {
        let Request::Complete(body, end) = &mut self.request else { return Actions::new() };
        let destination = match picked {
            Ok(destination) => destination,
            Err(refusal) => return self.refuse(refusal),
        };
        let (body, end) = (std::mem::take(body), *end);
        self.request = Request::Sent;
        self.announcement = destination.announcement().cloned();
        let mut actions: Actions = smallvec![Action::Reply(reply::destination(&destination, body.len()))];
        let ending = match end {
            End::Headers => return actions,
            End::Body => Ending::Last,
            End::Trailers => Ending::More,
        };
        // An empty chunk is of use only where it carries the end.
        if ending == Ending::Last || !body.is_empty() {
            actions.extend(reply::chunks(Direction::Request, body, ending).map(Action::Reply));
        }
        if end == End::Trailers {
            actions.push(Action::Reply(reply::trailers(Direction::Request)));
        }
        actions
    }

    fn refuse(&mut self, refusal: Refusal) -> Actions {
        let reply = reply::refused(&refusal);
        self.request = Request::Refused(refusal);
        smallvec![Action::Reply(reply), Action::Close]
    }
}
