//! The request's half of a conversation. The picker sends nothing until the request is complete; then it
//! sends the destination.

mod complete;
mod passing_body;
mod reading;
mod stage;
mod unread;

use bytes::Bytes;
use signalbox_intake::Api;
use signalbox_protos::envoy::service::ext_proc::v3::{HttpBody, HttpHeaders};
use signalbox_types::Subset;
use smallvec::smallvec;

use crate::body::budget::BodyReservation;
use crate::body::buffer::BodyBuffer;
use crate::body::modes::{BodyModes, BodyReply, RequestBodyMode};
use crate::config::Config;
use crate::destination::Destination;
use crate::event::{Action, Actions};
use crate::fixed_model::Fixed;
use crate::headers::request::RequestHeaders;
use crate::panic_guard::{GuardedStep, Panicked, catch_panic};
use crate::refusal::Refusal;
use crate::reply::{self, Direction, Ending};
use crate::response::ExpectedResponse;
use complete::{CompleteRequest, CompletedAt, SentRequest};
use passing_body::PassingBody;
use reading::{ReadBody, Reading, read_body};
pub(crate) use stage::Stage;

/// The state of one request.
#[derive(Debug, Default)]
pub(crate) struct Request {
    stage: Stage,
    headers: RequestHeaders,
    /// Whether the gateway takes nothing but the destination.
    takes_no_changes: bool,
    /// The body that passes unread, until it is known whether it may.
    passing_body: Option<PassingBody>,
    /// The endpoints that the gateway allows.
    subset: Option<Subset>,
}

impl Request {
    pub(crate) fn headers(&self) -> &RequestHeaders {
        &self.headers
    }

    pub(crate) fn stage(&self) -> &Stage {
        &self.stage
    }

    /// Sets the endpoints that the gateway allows; the last value counts.
    pub(crate) fn set_subset(&mut self, subset: Option<Subset>) {
        self.subset = subset.or(self.subset.take());
    }

    /// Handles a message of the response. Only the picker has seen a request without a destination, so a response to it
    /// comes from the gateway itself. An answered request cannot be refused any more.
    pub(crate) fn on_response_message(&mut self) {
        self.passing_body = None;
        match self.stage {
            Stage::Receiving(..) | Stage::AwaitingBody(_) | Stage::Complete(_) => {
                self.stage = Stage::AnsweredByGateway;
            }
            _ => {}
        }
    }

    /// Releases the body's share of the budget; the gateway has received all replies.
    pub(crate) fn release_sent_body(&mut self) {
        if let Stage::Sent { _reservation: reservation } = &mut self.stage {
            *reservation = None;
        }
    }

    pub(crate) fn on_headers(
        &mut self,
        message: &HttpHeaders,
        config: &Config,
        body_modes: BodyModes,
        random_bits: u128,
    ) -> Actions {
        match self.stage {
            Stage::Awaited => {}
            Stage::Sent { .. } => return smallvec![Action::Reply(reply::headers(Direction::Request))],
            // The headers arrived before, and the reply to them is still due.
            _ => return Actions::new(),
        }
        let mut actions = Actions::new();
        let request_headers = catch_panic(GuardedStep::RequestHeaders, || {
            RequestHeaders::parse(message.headers.as_ref(), config, random_bits)
        });
        self.headers = request_headers.unwrap_or_else(|Panicked| {
            actions.push(Action::Panicked);
            RequestHeaders::unreadable(random_bits)
        });
        if self.headers.controls.invalid > 0 {
            actions.push(Action::ControlHeadersIgnored { count: self.headers.controls.invalid });
        }
        self.takes_no_changes = !self.headers.has_path && !body_modes.are_announced();
        let next = match self.check_models_in_path(message.end_of_stream, config) {
            Err(refusal) => self.refuse(refusal, config),
            Ok(()) if message.end_of_stream => {
                self.complete_without_body(self.headers.bodiless_api, CompletedAt::Headers, config)
            }
            Ok(()) => self.begin_body(config, body_modes),
        };
        actions.extend(next);
        actions
    }

    /// Awaits the body, or sends the request on at once if its body is not read.
    fn begin_body(&mut self, config: &Config, body_modes: BodyModes) -> Actions {
        if let Some(path) = self.headers.unsupported_path.take() {
            let text = format!("no parser registered matching path suffix for: {path}");
            return self.refuse(Refusal::BadRequest(text), config);
        }
        let reservation = config.body_budget.start_reservation();
        let is_opaque = self.headers.api == Api::Opaque;
        match body_modes.request_body_mode() {
            RequestBodyMode::Streamed if is_opaque => {
                self.pass_body(Fixed::InOpaqueBody, CompletedAt::HeadersBeforeBody, config)
            }
            _ if is_opaque => self.pass_body(Fixed::InOpaqueBody, CompletedAt::Headers, config),
            RequestBodyMode::NotReadable => self.pass_body(Fixed::ByBodyMode, CompletedAt::Headers, config),
            RequestBodyMode::Streamed => {
                self.await_body(Stage::Receiving(BodyBuffer::default(), reservation), config)
            }
            RequestBodyMode::Buffered => self.await_body(Stage::AwaitingBody(reservation), config),
        }
    }

    fn await_body(&mut self, stage: Stage, config: &Config) -> Actions {
        let limit_bytes = config.body_limit_bytes;
        if self.headers.content_length_bytes.is_some_and(|bytes| bytes > limit_bytes as u64) {
            return self.refuse(Refusal::TooLarge { limit_bytes }, config);
        }
        self.stage = stage;
        match self.stage {
            Stage::AwaitingBody(_) => {
                let headers_to_remove = std::mem::take(&mut self.headers.controls.headers_to_remove);
                smallvec![Action::Reply(reply::remove_request_headers(headers_to_remove))]
            }
            _ => Actions::new(),
        }
    }

    pub(crate) fn on_body(&mut self, message: HttpBody, config: &Config, body_modes: BodyModes) -> Actions {
        let ending = Ending::of(message.end_of_stream);
        let expected_bytes = self.headers.content_length_bytes;
        let (buffered_bytes, room) = match &mut self.stage {
            Stage::Receiving(body, reservation) => {
                let held_bytes = body.held_bytes_with(message.body.len(), expected_bytes);
                (body.len_bytes(), reservation.resize(held_bytes))
            }
            Stage::AwaitingBody(reservation) => (0, reservation.resize(message.body.len())),
            _ => return self.on_unread_body(message.body, ending, config, body_modes),
        };
        let limit_bytes = config.body_limit_bytes;
        if buffered_bytes + message.body.len() > limit_bytes {
            return self.refuse(Refusal::TooLarge { limit_bytes }, config);
        }
        if room.is_err() {
            return self.refuse(Refusal::BodyBudgetExceeded, config);
        }
        if let Stage::Receiving(body, _) = &mut self.stage {
            body.push(message.body, expected_bytes);
            return match ending {
                Ending::Last => self.complete_received(CompletedAt::Body, config),
                Ending::More => Actions::new(),
            };
        }
        let is_part = ending == Ending::More && body_modes.request_body_reply() == BodyReply::PartialBody;
        let end = if is_part { CompletedAt::PartialBody } else { CompletedAt::SingleMessage };
        self.complete_in_one_message(message.body, end, config)
    }

    /// Refuses the request if its body contains a message that exceeds the size limit.
    pub(crate) fn on_message_too_long(&mut self, config: &Config) -> Actions {
        match self.stage {
            Stage::Receiving(..) | Stage::AwaitingBody(_) => {
                self.refuse(Refusal::TooLarge { limit_bytes: config.body_limit_bytes }, config)
            }
            _ => Actions::new(),
        }
    }

    pub(crate) fn on_trailers(&mut self, config: &Config) -> Actions {
        match self.stage {
            Stage::Receiving(..) => self.complete_received(CompletedAt::Trailers, config),
            // The destination could only have been sent with the reply to the body.
            Stage::AwaitingBody(_) => {
                let text = "the request headers announced a body, but trailers arrived instead";
                self.refuse(Refusal::BadRequest(text.to_owned()), config)
            }
            Stage::Awaited | Stage::Sent { .. } => self.on_unread_trailers(config),
            _ => Actions::new(),
        }
    }

    fn complete_received(&mut self, end: CompletedAt, config: &Config) -> Actions {
        let Stage::Receiving(body, reservation) = std::mem::take(&mut self.stage) else {
            return Actions::new();
        };
        let body = body.into_bytes();
        match self.headers.announced_bytes_if_more(body.len()) {
            Some(announced_bytes) => {
                let text =
                    format!("request body is truncated: received {} of {announced_bytes} bytes", body.len());
                self.refuse(Refusal::BadRequest(text), config)
            }
            None => self.complete(body, reservation, (self.headers.api, end), config),
        }
    }

    fn complete_in_one_message(&mut self, body: Bytes, end: CompletedAt, config: &Config) -> Actions {
        let Stage::AwaitingBody(reservation) = std::mem::take(&mut self.stage) else { return Actions::new() };
        // The gateway buffered only a part without saying so.
        let is_part = self.headers.announced_bytes_if_more(body.len()).is_some();
        let end = if is_part { CompletedAt::PartialBody } else { end };
        self.complete(body, reservation, (self.headers.api, end), config)
    }

    /// Completes a request whose body is empty, or is not read.
    fn complete_without_body(&mut self, api: Api, end: CompletedAt, config: &Config) -> Actions {
        let reservation = config.body_budget.start_reservation();
        self.complete(Bytes::new(), reservation, (api, end), config)
    }

    fn complete(
        &mut self,
        body: Bytes,
        mut reservation: BodyReservation,
        (api, end): (Api, CompletedAt),
        config: &Config,
    ) -> Actions {
        let mut actions = Actions::new();
        let takes_no_changes = self.takes_no_changes;
        let how = Reading { api, is_part: end == CompletedAt::PartialBody, takes_no_changes };
        let read = match read_body(body, how, &self.headers, &mut reservation, config) {
            Ok(read) => read,
            Err(refusal) => return self.refuse(refusal, config),
        };
        let ReadBody { body, is_decoded, mut parsed, has_panicked } = read;
        actions.extend(has_panicked.then_some(Action::Panicked));
        let api = if api == Api::ByShape { parsed.api } else { api };
        if is_decoded {
            self.headers.controls.headers_to_remove.push("content-encoding".to_owned());
        }
        let target = &parsed.request.model;
        let model_edit = parsed.requested_model.as_ref().and(parsed.model_span.clone());
        let model_edit = model_edit.map(|span| (span, target.clone()));
        let renamed = parsed.requested_model.clone().filter(|requested| !requested.is_empty());
        let renamed = renamed.map(|requested| (target.clone(), requested));
        let (is_stored, deletes) = (parsed.is_stored, self.headers.deleted_response);
        let expected = ExpectedResponse { api, renamed, is_stored, deletes };
        parsed.stored_response = parsed.stored_response.or(self.headers.stored_response);
        parsed.request.subset = self.subset.take();
        self.headers.move_to(&mut parsed.request, &config.models);
        self.stage = Stage::Complete(CompleteRequest { body, reservation, end, model_edit, expected });
        actions.push(Action::Pick(parsed));
        actions
    }

    /// Sends the request to its destination, or refuses it. Returns what is known about the response.
    pub(crate) fn on_picked(
        &mut self,
        picked: Result<&Destination, &Refusal>,
        config: &Config,
    ) -> (Actions, Option<ExpectedResponse>) {
        let Stage::Complete(complete) = std::mem::take(&mut self.stage) else {
            return (Actions::new(), None);
        };
        match picked {
            Ok(destination) => {
                let SentRequest { actions, reservation, expected } =
                    complete.send(destination, &mut self.headers);
                self.stage = Stage::Sent { _reservation: Some(reservation) };
                (actions, Some(expected))
            }
            Err(refusal) => (self.refuse(refusal.clone(), config), None),
        }
    }

    /// Answers the request, which goes to no endpoint or gives up its place there.
    pub(crate) fn refuse(&mut self, refusal: Refusal, config: &Config) -> Actions {
        let reply = reply::refuse(&refusal, self.headers.error_format, config.retry_after_s);
        self.stage = Stage::Refused(refusal);
        smallvec![Action::Reply(reply), Action::Close]
    }
}
