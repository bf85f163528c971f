//! The request's half of a conversation. The picker sends nothing until the request is complete; then it
//! sends the destination.

mod complete;
mod stage;

use bytes::Bytes;
use signalbox_intake::{Api, ParseOptions, ParsedRequest, parse};
use signalbox_protos::envoy::service::ext_proc::v3::{HttpBody, HttpHeaders};
use signalbox_types::Subset;
use smallvec::smallvec;

use crate::body::budget::BodyReservation;
use crate::body::buffer::BodyBuffer;
use crate::body::modes::{BodyModes, BodyReply, RequestBodyMode};
use crate::config::Config;
use crate::destination::Destination;
use crate::event::{Action, Actions};
use crate::headers::request::RequestHeaders;
use crate::panic_guard::{GuardedStep, Panicked, catch_panic};
use crate::refusal::Refusal;
use crate::reply::{self, Direction, Ending};
use crate::response::ExpectedResponse;
use complete::{CompleteRequest, CompletedAt, SentRequest};
use stage::Stage;

/// The state of one request.
#[derive(Debug, Default)]
pub(crate) struct Request {
    stage: Stage,
    headers: RequestHeaders,
    /// The endpoints that the gateway allows.
    subset: Option<Subset>,
}

impl Request {
    pub(crate) fn headers(&self) -> &RequestHeaders {
        &self.headers
    }

    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        match &self.stage {
            Stage::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Returns the length of the body in bytes if the request is complete, and neither has a destination nor was refused or
    /// answered by the gateway.
    pub(crate) fn waiting_bytes(&self) -> Option<usize> {
        match &self.stage {
            Stage::Complete(complete) => Some(complete.body.len()),
            _ => None,
        }
    }

    pub(crate) fn is_sent(&self) -> bool {
        matches!(self.stage, Stage::Sent { .. })
    }

    /// Sets the endpoints that the gateway allows; the last value counts.
    pub(crate) fn set_subset(&mut self, subset: Option<Subset>) {
        self.subset = subset.or(self.subset.take());
    }

    /// Handles a message of the response. Only the picker has seen a request without a destination, so a response to it
    /// comes from the gateway itself.
    pub(crate) fn on_response_message(&mut self) {
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
        let next = if message.end_of_stream {
            self.complete(Bytes::new(), None, (self.headers.bodiless_api, CompletedAt::Headers), config)
        } else {
            match body_modes.request_body_mode() {
                RequestBodyMode::NotReadable => {
                    self.complete(Bytes::new(), None, (Api::Opaque, CompletedAt::Headers), config)
                }
                RequestBodyMode::Streamed => self.await_body(
                    Stage::Receiving(BodyBuffer::default(), config.body_budget.start_reservation()),
                    config,
                ),
                RequestBodyMode::Buffered => {
                    self.await_body(Stage::AwaitingBody(config.body_budget.start_reservation()), config)
                }
            }
        };
        actions.extend(next);
        actions
    }

    fn await_body(&mut self, stage: Stage, config: &Config) -> Actions {
        if let Some(path) = self.headers.unsupported_path.take() {
            let text = format!("no parser registered matching path suffix for: {path}");
            return self.refuse(Refusal::BadRequest(text), config);
        }
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
        let (buffered_bytes, room) = match &mut self.stage {
            Stage::Receiving(body, reservation) => (body.len_bytes(), reservation.grow(message.body.len())),
            Stage::AwaitingBody(reservation) => (0, reservation.grow(message.body.len())),
            _ => return self.unexpected_body(message.body, ending, body_modes),
        };
        let limit_bytes = config.body_limit_bytes;
        if buffered_bytes + message.body.len() > limit_bytes {
            return self.refuse(Refusal::TooLarge { limit_bytes }, config);
        }
        if room.is_err() {
            return self.refuse(Refusal::BodyBudgetExceeded, config);
        }
        if let Stage::Receiving(body, _) = &mut self.stage {
            body.push(message.body, self.headers.content_length_bytes);
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

    /// Passes on a body that arrives without headers or against the announced mode; nothing depends on it.
    fn unexpected_body(&self, body: Bytes, ending: Ending, body_modes: BodyModes) -> Actions {
        match (&self.stage, body_modes.request_body_reply()) {
            (Stage::Awaited | Stage::Sent { .. }, BodyReply::Chunks) => {
                reply::chunks(Direction::Request, body, ending).map(Action::Reply).collect()
            }
            (
                Stage::Awaited | Stage::Sent { .. },
                BodyReply::SingleMessage | BodyReply::PartialBody | BodyReply::WholeBody,
            ) => {
                smallvec![Action::Reply(reply::pass_body(Direction::Request))]
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
            Stage::Awaited | Stage::Sent { .. } => {
                smallvec![Action::Reply(reply::trailers(Direction::Request))]
            }
            _ => Actions::new(),
        }
    }

    fn complete_received(&mut self, end: CompletedAt, config: &Config) -> Actions {
        let Stage::Receiving(body, reservation) = std::mem::take(&mut self.stage) else {
            return Actions::new();
        };
        let body = body.into_bytes();
        match self.announced_bytes_if_truncated(&body) {
            Some(announced_bytes) => {
                let text =
                    format!("request body is truncated: received {} of {announced_bytes} bytes", body.len());
                self.refuse(Refusal::BadRequest(text), config)
            }
            None => self.complete(body, Some(reservation), (self.headers.api, end), config),
        }
    }

    /// Returns the announced length of the body if less has arrived, unless the body is opaque.
    fn announced_bytes_if_truncated(&self, body: &Bytes) -> Option<u64> {
        let announced_bytes =
            self.headers.content_length_bytes.filter(|announced_bytes| *announced_bytes > body.len() as u64);
        announced_bytes.filter(|_| self.headers.api != Api::Opaque)
    }

    fn complete_in_one_message(&mut self, body: Bytes, end: CompletedAt, config: &Config) -> Actions {
        let Stage::AwaitingBody(reservation) = std::mem::take(&mut self.stage) else { return Actions::new() };
        let api =
            if self.announced_bytes_if_truncated(&body).is_some() { Api::Opaque } else { self.headers.api };
        self.complete(body, Some(reservation), (api, end), config)
    }

    fn complete(
        &mut self,
        body: Bytes,
        reservation: Option<BodyReservation>,
        (api, end): (Api, CompletedAt),
        config: &Config,
    ) -> Actions {
        let mut actions = Actions::new();
        let rewrite = |requested: &str| self.headers.rewrite_target(requested, &config.models);
        let options = ParseOptions {
            block_bytes: config.block_bytes,
            media_weights: config.media_weights,
            rewrite: &rewrite,
        };
        let mut parsed = match catch_panic(GuardedStep::RequestBody, || parse(api, &body, &options)) {
            Ok(Ok(parsed)) => parsed,
            Ok(Err(_)) if end == CompletedAt::PartialBody => ParsedRequest::default(),
            Ok(Err(error)) => return self.refuse(Refusal::BadRequest(error.to_string()), config),
            Err(Panicked) => {
                actions.push(Action::Panicked);
                ParsedRequest::default()
            }
        };
        let api = if api == Api::ByShape { parsed.api } else { api };
        if self.headers.api == Api::ByShape && !config.parsers.allow(api) {
            let text = "no parser registered for the API of this body, and the gateway sent no path";
            return self.refuse(Refusal::BadRequest(text.to_owned()), config);
        }
        let target = &parsed.request.model;
        let model_edit = parsed.requested_model.as_ref().and(parsed.model_span.clone());
        let model_edit = model_edit.map(|span| (span, target.clone()));
        let renamed = parsed.requested_model.clone().filter(|requested| !requested.is_empty());
        let renamed = renamed.map(|requested| (target.clone(), requested));
        let expected = ExpectedResponse { api, renamed, is_stored: parsed.is_stored };
        parsed.stored_response = parsed.stored_response.or(self.headers.stored_response);
        parsed.request.subset = self.subset.take();
        parsed.request.headers = std::mem::take(&mut self.headers.decision_headers);
        parsed.request.priority = config.models.priority(self.headers.controls.objective.as_deref());
        let controls = &self.headers.controls;
        parsed.request.flow = controls.fairness_id.clone().or_else(|| controls.objective.clone());
        parsed.request.ttft_goal_ms = self.headers.controls.ttft_goal_ms;
        parsed.request.tpot_goal_ms = self.headers.controls.tpot_goal_ms;
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
                self.stage = Stage::Sent { _reservation: reservation };
                (actions, Some(expected))
            }
            Err(refusal) => (self.refuse(refusal.clone(), config), None),
        }
    }

    fn refuse(&mut self, refusal: Refusal, config: &Config) -> Actions {
        let reply = reply::refuse(&refusal, self.headers.error_format, config.retry_after_s);
        self.stage = Stage::Refused(refusal);
        smallvec![Action::Reply(reply), Action::Close]
    }
}
