//! The conversation on one ext-proc stream.

use std::net::SocketAddr;

use signalbox_protos::envoy::config::core::v3::Metadata;
use signalbox_protos::envoy::service::ext_proc::v3::processing_request::Request as Message;
use signalbox_protos::envoy::service::ext_proc::v3::{ProcessingRequest, ProcessingResponse};
use signalbox_types::Subset;

use crate::body::modes::BodyModes;
use crate::config::{Config, SubsetHint};
use crate::destination::Destination;
use crate::event::{Action, Actions, Event, Outcome};
use crate::gateway_metadata;
use crate::refusal::Refusal;
use crate::reply;
use crate::request::Request;
use crate::response::{Response, Stage};

/// Length from which on reading a body takes long, in bytes: a few milliseconds.
pub const LARGE_BODY_BYTES: usize = 1 << 20;

/// How many times longer a compressed body may become, as far as [`Conversation::takes_long`] is concerned.
const MAX_EXPANSION: usize = 64;

/// One stream between a gateway and the picker. It covers one HTTP request.
///
/// The picker sends nothing until it has received as much of the request as the gateway's body mode allows.
/// Then it replies with a destination and lets the response pass. Messages that arrive out of order pass
/// unchanged where possible, and are ignored otherwise.
#[derive(Debug)]
pub struct Conversation {
    config: Config,
    random_bits: u128,
    body_modes: BodyModes,
    request: Request,
    response: Response,
    /// The destination, until the response begins, if the response tells a session token.
    session_destination: Option<Destination>,
    served_by: Option<SocketAddr>,
    /// Whether the gateway has ended its messages.
    has_half_closed: bool,
}

impl Conversation {
    /// Returns a conversation that has not started. `random_bits` must be unique per conversation; they
    /// determine the generated request id and the target of a model rewrite.
    pub fn new(config: Config, random_bits: u128) -> Self {
        Self {
            config,
            random_bits,
            body_modes: BodyModes::default(),
            request: Request::default(),
            response: Response::default(),
            session_destination: None,
            served_by: None,
            has_half_closed: false,
        }
    }

    /// Processes an event; returns the actions to perform, in order.
    pub fn step(&mut self, event: Event) -> Actions {
        if self.refusal().is_some() {
            return Actions::new();
        }
        match event {
            Event::Message(message) => self.receive(message),
            Event::MessageTooLong => self.request.on_message_too_long(&self.config),
            Event::Picked(picked) => self.on_picked(picked.as_ref()),
            Event::Revoked(refusal) if self.can_be_revoked() => self.request.refuse(refusal, &self.config),
            Event::Revoked(_) => Actions::new(),
        }
    }

    /// Notes that the gateway has ended its messages, in contrast to a stream that breaks off. If it did not announce that
    /// it sends responses, it never meant to: NGINX Gateway Fabric only asks where a request goes.
    pub fn half_close(&mut self) {
        self.has_half_closed = true;
    }

    /// Releases the buffered request body. Call this when the gateway has received all replies.
    pub fn release_sent_body(&mut self) {
        self.request.release_sent_body();
    }

    /// Returns whether handling `event` may take long, because it completes a body of more than [`LARGE_BODY_BYTES`]. Other
    /// work should not wait for it.
    pub fn takes_long(&self, event: &Event) -> bool {
        let Event::Message(ProcessingRequest { request: Some(message), .. }) = event else { return false };
        let expansion = if self.request.headers().is_compressed() { MAX_EXPANSION } else { 1 };
        self.request.bytes_completed_by(message).saturating_mul(expansion) > LARGE_BODY_BYTES
    }

    /// Returns whether the rest of the request's body must not be passed in yet: it is to be sent back as it comes, and the
    /// result of [`Action::Pick`] is due.
    pub fn holds_body_back(&self) -> bool {
        self.request.stage().holds_body_back()
    }

    /// Returns the request id: that of the client or the gateway, truncated to 128 characters, or a generated
    /// one. `None` until the headers have arrived.
    pub fn request_id(&self) -> Option<&str> {
        self.request.headers().request_id.as_deref()
    }

    /// Returns whether the gateway may leave the end of the response off this stream. Valid from the first
    /// message on.
    pub fn may_hide_response(&self) -> bool {
        self.body_modes.may_hide_response()
    }

    /// Returns whether the request was sent to an endpoint and can still be answered instead: its response has not begun, and
    /// the gateway will show it first.
    pub fn can_be_revoked(&self) -> bool {
        let is_awaited = self.request.stage().is_sent() && self.response.stage == Stage::Awaited;
        is_awaited && !self.has_half_closed && !self.may_hide_response()
    }

    /// Returns whether any of the response's body has arrived.
    pub fn has_response_body(&self) -> bool {
        self.response.has_body()
    }

    /// Returns why the request was refused or revoked, if it was.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.request.stage().refusal()
    }

    /// Returns the response for the client for the case that the picker fails and cannot choose even a random endpoint.
    pub fn internal_error(&self) -> ProcessingResponse {
        reply::internal_error(self.request.headers().error_format)
    }

    /// Returns the length of the request's body in bytes while the result of [`Action::Pick`] is due; `None` before, and when
    /// it is not needed any more.
    pub fn awaited_pick_bytes(&self) -> Option<usize> {
        self.request.stage().waiting_bytes()
    }

    /// Returns the outcome of the request if the stream ends now.
    pub fn outcome(&self) -> Outcome {
        if self.refusal().is_some() {
            return Outcome::Refused;
        }
        if !self.request.stage().is_sent() {
            return Outcome::NotSent;
        }
        match self.response.stage {
            Stage::Ended => Outcome::Complete,
            Stage::Awaited if self.body_modes.hides_response_body() => Outcome::Hidden,
            Stage::Awaited if self.has_half_closed && self.may_hide_response() => Outcome::Hidden,
            Stage::Started if self.may_hide_response() => Outcome::Hidden,
            _ => Outcome::Aborted,
        }
    }

    fn receive(&mut self, message: ProcessingRequest) -> Actions {
        if let Some(announced_modes) = message.protocol_config {
            self.body_modes = announced_modes.into();
        }
        let (config, body_modes, metadata) =
            (&self.config, self.body_modes, message.metadata_context.as_ref());
        match message.request {
            Some(Message::RequestHeaders(headers)) => {
                self.request.set_subset(allowed_subset(metadata, config));
                self.request.on_headers(&headers, config, body_modes, self.random_bits)
            }
            Some(Message::RequestBody(body)) => {
                self.request.set_subset(allowed_subset(metadata, config));
                self.request.on_body(body, config, body_modes)
            }
            Some(Message::RequestTrailers(_)) => {
                self.request.set_subset(allowed_subset(metadata, config));
                self.request.on_trailers(config)
            }
            Some(Message::ResponseHeaders(headers)) => {
                let mut actions = self.on_response_message(metadata);
                let (destination, served) = (self.session_destination.take(), self.served_by);
                actions.extend(self.response.on_headers(&headers, |status| {
                    destination.and_then(|destination| destination.session_header(status, served))
                }));
                actions
            }
            Some(Message::ResponseBody(body)) => {
                let mut actions = self.on_response_message(metadata);
                actions.extend(self.response.on_body(body, body_modes));
                actions
            }
            Some(Message::ResponseTrailers(_)) => {
                let mut actions = self.on_response_message(metadata);
                actions.extend(self.response.on_trailers(self.body_modes));
                actions
            }
            None => Actions::new(),
        }
    }

    /// Handles what all messages of a response have in common. Their metadata may name the endpoint that
    /// serves the request.
    fn on_response_message(&mut self, metadata: Option<&Metadata>) -> Actions {
        self.request.on_response_message();
        let served =
            gateway_metadata::serving_endpoint(metadata).filter(|served| self.served_by != Some(*served));
        self.served_by = served.or(self.served_by);
        served.map(Action::ServedBy).into_iter().collect()
    }

    fn on_picked(&mut self, picked: Result<&Destination, &Refusal>) -> Actions {
        self.session_destination =
            picked.ok().filter(|destination| destination.has_session_tokens()).cloned();
        let (actions, expected) = self.request.on_picked(picked, &self.config);
        if let Some(expected) = expected {
            self.response.set_expected(expected);
        }
        actions
    }
}

/// Returns the endpoints that a gateway allows, unless the configuration ignores them.
fn allowed_subset(metadata: Option<&Metadata>, config: &Config) -> Option<Subset> {
    match config.subset_hint {
        SubsetHint::Honored => gateway_metadata::allowed_subset(metadata),
        SubsetHint::Ignored => None,
    }
}
