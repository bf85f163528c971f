//! The request's half of a conversation: the picker is silent until it has seen what there is to see, then it says where to.

use bytes::Bytes;
use signalbox_intake::{Api, Intake, Reading, parse};
use signalbox_protos::envoy::service::ext_proc::v3::{HttpBody, HttpHeaders};
use signalbox_types::Subset;
use smallvec::smallvec;

use crate::body::Body;
use crate::buffers::Held;
use crate::complete::{Complete, End, Sent};
use crate::config::Config;
use crate::destination::Destination;
use crate::event::{Action, Actions};
use crate::guard::{Panicked, Place, guarded};
use crate::head::Head;
use crate::modes::{Echo, Modes, RequestBody};
use crate::refusal::Refusal;
use crate::reply::{self, Direction, Ending};
use crate::response::Expected;

/// One request.
#[derive(Debug, Default)]
pub(crate) struct Request {
    stage: Stage,
    head: Head,
    /// The endpoints that the gateway allows.
    subset: Option<Subset>,
}

/// How far a request has come.
#[derive(Debug, Default)]
enum Stage {
    /// Nothing came. A stream may begin with the response.
    #[default]
    Awaited,
    /// Its headers came, its body is coming.
    Arriving(Body, Held),
    /// Its headers came and were let pass, its body is coming in one message.
    Expected(Held),
    /// All of it came that will be seen; where it goes is being decided.
    Complete(Complete),
    /// It was sent to an endpoint. What was held of it is, until the gateway has all of it.
    Sent { _held: Option<Held> },
    /// The gateway answered it before it was complete, and has no more use for it.
    Overtaken,
    /// It was refused.
    Refused(Refusal),
}

impl Request {
    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        match &self.stage {
            Stage::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    pub(crate) fn is_sent(&self) -> bool {
        matches!(self.stage, Stage::Sent { .. })
    }

    /// The gateway allows these endpoints; what it says last counts.
    pub(crate) fn allow(&mut self, subset: Option<Subset>) {
        self.subset = subset.or(self.subset.take());
    }

    /// Something of the response came. As nobody but the picker has seen the request before it is complete, a response to an
    /// incomplete one is the gateway's own.
    pub(crate) fn answered(&mut self) {
        match self.stage {
            Stage::Arriving(..) | Stage::Expected(_) => self.stage = Stage::Overtaken,
            _ => {}
        }
    }

    /// The gateway has all that was said to it.
    pub(crate) fn handed_over(&mut self) {
        if let Stage::Sent { _held: held } = &mut self.stage {
            *held = None;
        }
    }

    pub(crate) fn headers(
        &mut self,
        message: &HttpHeaders,
        config: &Config,
        modes: Modes,
        chance: u128,
    ) -> Actions {
        match self.stage {
            Stage::Awaited => {}
            Stage::Sent { .. } => return smallvec![Action::Reply(reply::headers(Direction::Request))],
            // Headers came before, and their answer is still to be given.
            _ => return Actions::new(),
        }
        let mut actions = Actions::new();
        let head =
            guarded(Place::RequestHeaders, || Head::of_request(message.headers.as_ref(), config, chance));
        self.head = head.unwrap_or_else(|Panicked| {
            actions.push(Action::Panicked);
            Head::unread(chance)
        });
        if self.head.controls.ignored > 0 {
            actions.push(Action::Ignored { controls: self.head.controls.ignored });
        }
        let next = if message.end_of_stream {
            self.complete(Bytes::new(), None, (self.head.bodiless_api, End::Headers), config)
        } else {
            match modes.request_body() {
                RequestBody::Unseen => self.complete(Bytes::new(), None, (Api::Opaque, End::Headers), config),
                RequestBody::Streamed => {
                    self.await_body(Stage::Arriving(Body::default(), config.buffers.begin()), config)
                }
                RequestBody::Buffered => self.await_body(Stage::Expected(config.buffers.begin()), config),
            }
        };
        actions.extend(next);
        actions
    }

    fn await_body(&mut self, stage: Stage, config: &Config) -> Actions {
        if let Some(path) = self.head.unclaimed.take() {
            let text = format!("no parser registered matching path suffix for: {path}");
            return self.refuse(Refusal::BadRequest(text), config);
        }
        let limit_bytes = config.body_limit_bytes;
        if self.head.content_length_bytes.is_some_and(|bytes| bytes > limit_bytes as u64) {
            return self.refuse(Refusal::TooLarge { limit_bytes }, config);
        }
        self.stage = stage;
        match self.stage {
            Stage::Expected(_) => {
                let ending_here = std::mem::take(&mut self.head.controls.ending_here);
                smallvec![Action::Reply(reply::without(ending_here))]
            }
            _ => Actions::new(),
        }
    }

    pub(crate) fn body(&mut self, message: HttpBody, config: &Config, modes: Modes) -> Actions {
        let ending = Ending::of(message.end_of_stream);
        let (held_bytes, room) = match &mut self.stage {
            Stage::Arriving(body, held) => (body.len_bytes(), held.grow(message.body.len())),
            Stage::Expected(held) => (0, held.grow(message.body.len())),
            _ => return self.unexpected_body(message.body, ending, modes),
        };
        let limit_bytes = config.body_limit_bytes;
        if held_bytes + message.body.len() > limit_bytes {
            return self.refuse(Refusal::TooLarge { limit_bytes }, config);
        }
        if room.is_err() {
            return self.refuse(Refusal::Full, config);
        }
        if let Stage::Arriving(body, _) = &mut self.stage {
            body.push(message.body, self.head.content_length_bytes);
            return match ending {
                Ending::Last => self.complete_arrived(End::Body, config),
                Ending::More => Actions::new(),
            };
        }
        let is_part = ending == Ending::More && modes.request_echo() == Echo::Part;
        let end = if is_part { End::Part } else { End::OneMessage };
        self.complete_in_one_message(message.body, end, config)
    }

    /// A part of the body is too long to be taken; if it is the request's, which the picker has not answered.
    pub(crate) fn overlong(&mut self, config: &Config) -> Actions {
        match self.stage {
            Stage::Arriving(..) | Stage::Expected(_) => {
                self.refuse(Refusal::TooLarge { limit_bytes: config.body_limit_bytes }, config)
            }
            _ => Actions::new(),
        }
    }

    /// A body without headers before it, or one that was not to come: it passes, as nothing depends on it.
    fn unexpected_body(&self, body: Bytes, ending: Ending, modes: Modes) -> Actions {
        match (&self.stage, modes.request_echo()) {
            (Stage::Awaited | Stage::Sent { .. }, Echo::Pieces) => {
                reply::chunks(Direction::Request, body, ending).map(Action::Reply).collect()
            }
            (Stage::Awaited | Stage::Sent { .. }, Echo::One | Echo::Part | Echo::Whole) => {
                smallvec![Action::Reply(reply::nod(Direction::Request))]
            }
            _ => Actions::new(),
        }
    }

    pub(crate) fn trailers(&mut self, config: &Config) -> Actions {
        match self.stage {
            Stage::Arriving(..) => self.complete_arrived(End::Trailers, config),
            // Where it goes could only have been said with the answer to its body.
            Stage::Expected(_) => {
                let text = "a body was announced, and none came before the trailers";
                self.refuse(Refusal::BadRequest(text.to_owned()), config)
            }
            Stage::Awaited | Stage::Sent { .. } => {
                smallvec![Action::Reply(reply::trailers(Direction::Request))]
            }
            _ => Actions::new(),
        }
    }

    fn complete_arrived(&mut self, end: End, config: &Config) -> Actions {
        let Stage::Arriving(body, held) = std::mem::take(&mut self.stage) else { return Actions::new() };
        let body = body.into_bytes();
        match self.cut(&body) {
            Some(said) => {
                let text = format!("request body is cut: {} of {said} bytes arrived", body.len());
                self.refuse(Refusal::BadRequest(text), config)
            }
            None => self.complete(body, Some(held), (self.head.api, end), config),
        }
    }

    /// How long the body should be of which less came, and which is to be read.
    fn cut(&self, body: &Bytes) -> Option<u64> {
        let said = self.head.content_length_bytes.filter(|said| *said > body.len() as u64);
        said.filter(|_| self.head.api != Api::Opaque)
    }

    fn complete_in_one_message(&mut self, body: Bytes, end: End, config: &Config) -> Actions {
        let Stage::Expected(held) = std::mem::take(&mut self.stage) else { return Actions::new() };
        let api = if self.cut(&body).is_some() { Api::Opaque } else { self.head.api };
        self.complete(body, Some(held), (api, end), config)
    }

    fn complete(
        &mut self,
        body: Bytes,
        held: Option<Held>,
        (api, end): (Api, End),
        config: &Config,
    ) -> Actions {
        let mut actions = Actions::new();
        let target = |asked: &str| self.head.target(asked, &config.models);
        let how = Reading { block_bytes: config.block_bytes, target: &target };
        let mut intake = match guarded(Place::RequestBody, || parse(api, &body, &how)) {
            Ok(Ok(intake)) => intake,
            Ok(Err(_)) if end == End::Part => Intake::default(),
            Ok(Err(error)) => return self.refuse(Refusal::BadRequest(error.to_string()), config),
            Err(Panicked) => {
                actions.push(Action::Panicked);
                Intake::default()
            }
        };
        let target = &intake.request.model;
        let splice = intake.asked_model.as_ref().and(intake.model_span.clone());
        let splice = splice.map(|span| (span, target.clone()));
        let renamed = intake.asked_model.clone().filter(|asked| !asked.is_empty());
        let renamed = renamed.map(|asked| (target.clone(), asked));
        let expected = Expected { api, renamed };
        intake.request.subset = self.subset.take();
        intake.request.headers = std::mem::take(&mut self.head.wanted);
        intake.request.priority = config.models.priority(self.head.controls.objective.as_deref());
        intake.request.ttft_goal_ms = self.head.controls.ttft_goal_ms;
        intake.request.tpot_goal_ms = self.head.controls.tpot_goal_ms;
        self.stage = Stage::Complete(Complete { body, held, end, splice, expected });
        actions.push(Action::Pick(intake));
        actions
    }

    /// It goes where it was decided, or is refused. Says what response is to be expected.
    pub(crate) fn send(
        &mut self,
        picked: Result<&Destination, &Refusal>,
        config: &Config,
    ) -> (Actions, Option<Expected>) {
        let Stage::Complete(complete) = std::mem::take(&mut self.stage) else {
            return (Actions::new(), None);
        };
        match picked {
            Ok(destination) => {
                let Sent { actions, held, expected } = complete.send(destination, &mut self.head);
                self.stage = Stage::Sent { _held: held };
                (actions, Some(expected))
            }
            Err(refusal) => (self.refuse(refusal.clone(), config), None),
        }
    }

    fn refuse(&mut self, refusal: Refusal, config: &Config) -> Actions {
        let reply = reply::refused(&refusal, config.retry_after_s);
        self.stage = Stage::Refused(refusal);
        smallvec![Action::Reply(reply), Action::Close]
    }
}
