//! The conversation of one stream.

use std::net::SocketAddr;

use signalbox_protos::envoy::config::core::v3::Metadata;
use signalbox_protos::envoy::service::ext_proc::v3::ProcessingRequest;
use signalbox_protos::envoy::service::ext_proc::v3::processing_request::Request as Message;
use signalbox_types::Subset;

use crate::config::{Config, SubsetHint};
use crate::destination::{Announcement, Destination};
use crate::event::{Action, Actions, Event, Outcome};
use crate::hint;
use crate::modes::Modes;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::response::{Response, Stage};

/// One stream between a gateway and the picker, which is about one HTTP request.
///
/// The picker is silent until it has seen of the request what the gateway's mode lets it see, answers with a destination, and lets the
/// response pass. Whatever is out of order passes unchanged where that can be done, and is ignored where not.
#[derive(Debug)]
pub struct Conversation {
    config: Config,
    chance: u128,
    modes: Modes,
    request: Request,
    response: Response,
    /// What the response is to tell the client.
    announcement: Option<Announcement>,
    served: Option<SocketAddr>,
}

impl Conversation {
    /// A conversation in which nothing was said. By `chance`, unlike any other's, it names the request and chooses among targets.
    pub fn new(config: Config, chance: u128) -> Self {
        Self {
            config,
            chance,
            modes: Modes::default(),
            request: Request::default(),
            response: Response::default(),
            announcement: None,
            served: None,
        }
    }

    /// Takes what happened; returns what is to be done about it, in order.
    pub fn step(&mut self, event: Event) -> Actions {
        if self.refusal().is_some() {
            return Actions::new();
        }
        match event {
            Event::Message(message) => self.receive(message),
            Event::Overlong => self.request.overlong(&self.config),
            Event::Picked(picked) => self.send(picked.as_ref()),
        }
    }

    /// The gateway has all that was said to it so far.
    pub fn handed_over(&mut self) {
        self.request.handed_over();
    }

    /// The client's or the gateway's id of the request, cut to 128 characters, or one that it was given here. None before its headers came.
    pub fn request_id(&self) -> Option<&str> {
        self.request.head().request_id.as_deref()
    }

    /// Whether the gateway may leave the response's end off this stream. Known from the first message on.
    pub fn may_hide_response(&self) -> bool {
        self.modes.may_hide_response()
    }

    /// Why the request was refused, if it was.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.request.refusal()
    }

    /// What became of the request if the stream is over now.
    pub fn outcome(&self) -> Outcome {
        if self.refusal().is_some() {
            return Outcome::Refused;
        }
        if !self.request.is_sent() {
            return Outcome::Unpicked;
        }
        match self.response.stage {
            Stage::Ended => Outcome::Complete,
            Stage::Awaited if self.modes.hide_body() => Outcome::Hidden,
            Stage::Started if self.modes.may_hide_response() => Outcome::Hidden,
            _ => Outcome::Aborted,
        }
    }

    fn receive(&mut self, message: ProcessingRequest) -> Actions {
        if let Some(told) = message.protocol_config {
            self.modes = told.into();
        }
        let (config, modes, metadata) = (&self.config, self.modes, message.metadata_context.as_ref());
        match message.request {
            Some(Message::RequestHeaders(headers)) => {
                self.request.allow(allowed(metadata, config));
                self.request.headers(&headers, config, modes, self.chance)
            }
            Some(Message::RequestBody(body)) => {
                self.request.allow(allowed(metadata, config));
                self.request.body(body, config, modes)
            }
            Some(Message::RequestTrailers(_)) => {
                self.request.allow(allowed(metadata, config));
                self.request.trailers(config)
            }
            Some(Message::ResponseHeaders(headers)) => {
                let mut actions = self.served(metadata);
                let announcement = self.announcement.take();
                actions.extend(self.response.headers(&headers, announcement.as_ref()));
                actions
            }
            Some(Message::ResponseBody(body)) => {
                let mut actions = self.served(metadata);
                actions.extend(self.response.body(body, modes));
                actions
            }
            Some(Message::ResponseTrailers(_)) => {
                let mut actions = self.served(metadata);
                actions.extend(self.response.trailers(self.modes));
                actions
            }
            None => Actions::new(),
        }
    }

    /// Something of the response came, and with it perhaps who has served it.
    fn served(&mut self, metadata: Option<&Metadata>) -> Actions {
        self.request.answered();
        let served = hint::served(metadata).filter(|served| self.served != Some(*served));
        self.served = served.or(self.served);
        served.map(Action::Served).into_iter().collect()
    }

    fn send(&mut self, picked: Result<&Destination, &Refusal>) -> Actions {
        self.announcement = picked.ok().and_then(|destination| destination.announcement().cloned());
        let (actions, expected) = self.request.send(picked, &self.config);
        if let Some(expected) = expected {
            self.response.expect(expected);
        }
        actions
    }
}

/// The endpoints that a gateway allows, where that counts.
fn allowed(metadata: Option<&Metadata>, config: &Config) -> Option<Subset> {
    match config.subset {
        SubsetHint::Honoured => hint::subset(metadata),
        SubsetHint::Ignored => None,
    }
}
