//! Requests whose bodies pass unread. They may not name a model that exists only as a rewrite.

use bytes::Bytes;
use signalbox_intake::Api;
use signalbox_protos::envoy::service::ext_proc::v3::processing_request::Request as Message;
use smallvec::smallvec;

use super::complete::CompletedAt;
use super::passing_body::{PassingBody, Search};
use super::{Request, Stage};
use crate::body::modes::{BodyModes, BodyReply};
use crate::config::Config;
use crate::event::{Action, Actions};
use crate::fixed_model::{Fixed, check_fixed_model};
use crate::refusal::Refusal;
use crate::reply::{self, Direction, Ending};

impl Request {
    /// Refuses a request whose path names a model that exists only as a rewrite, unless its body tells the model.
    pub(super) fn check_models_in_path(&self, is_bodiless: bool, config: &Config) -> Result<(), Refusal> {
        let is_read = !is_bodiless && self.headers.api != Api::Opaque;
        let names = self.headers.models_in_path.iter().filter(|_| !is_read);
        names.into_iter().try_for_each(|name| check_fixed_model(name, Fixed::InPath, config))
    }

    /// Sends a request on whose body is not read. `fixed` is why its model cannot be rewritten.
    pub(super) fn pass_body(&mut self, fixed: Fixed, end: CompletedAt, config: &Config) -> Actions {
        let named = self.headers.model.as_deref();
        if let Err(refusal) = named.map_or(Ok(()), |model| check_fixed_model(model, fixed, config)) {
            return self.refuse(refusal, config);
        }
        let api = self.headers.passing_api;
        let may_be_refused = api != Api::Opaque && config.models.has_named_sources();
        self.passing_body = may_be_refused.then(|| PassingBody::new(api, fixed, config));
        self.complete_without_body(Api::Opaque, end, config)
    }

    /// Passes on a body that is not read, unless it names a model that exists only as a rewrite.
    pub(super) fn on_unread_body(
        &mut self,
        body: Bytes,
        ending: Ending,
        config: &Config,
        body_modes: BodyModes,
    ) -> Actions {
        match self.search_passing_body(body.clone(), ending, config) {
            Ok(mut actions) => {
                actions.extend(self.unexpected_body(body, ending, body_modes));
                actions
            }
            Err(refusal) => self.refuse(refusal, config),
        }
    }

    fn search_passing_body(
        &mut self,
        chunk: Bytes,
        ending: Ending,
        config: &Config,
    ) -> Result<Actions, Refusal> {
        let Some(mut body) = self.passing_body.take_if(|_| self.stage.is_sent()) else {
            return Ok(Actions::new());
        };
        match body.push(chunk, ending == Ending::Last, &self.headers, config) {
            Search::GoesOn => self.passing_body = Some(body),
            Search::Ended => {}
            Search::Refused(refusal) => return Err(refusal),
            Search::Panicked => return Ok(smallvec![Action::Panicked]),
        }
        Ok(Actions::new())
    }

    /// Returns the length of the body that is read when `message` arrives, because it completes it, or begins one in which the
    /// model is looked for; else 0.
    pub(crate) fn bytes_completed_by(&self, message: &Message) -> usize {
        match (message, &self.passing_body) {
            (Message::RequestBody(chunk), Some(body)) => {
                let is_read = body.is_searched_with(chunk.body.len(), chunk.end_of_stream, &self.headers);
                if is_read { body.len_bytes() + chunk.body.len() } else { 0 }
            }
            (Message::RequestTrailers(_), Some(body)) => body.len_bytes(),
            _ => self.stage.bytes_completed_by(message),
        }
    }

    /// Handles trailers that nothing waits for.
    pub(super) fn on_unread_trailers(&mut self, config: &Config) -> Actions {
        match self.search_passing_body(Bytes::new(), Ending::Last, config) {
            Ok(mut actions) => {
                actions.push(Action::Reply(reply::trailers(Direction::Request)));
                actions
            }
            Err(refusal) => self.refuse(refusal, config),
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
}
