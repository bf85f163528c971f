//! Contains panics, so that a bug in the picker does not fail a request.
//!
//! This crate logs nothing, so it does not keep what a panic says: the guard of `signalbox-telemetry`, within which the
//! caller runs each step, also has its text, and logs it for [`crate::Action::Panicked`]. That guard alone would not
//! do, because it ends the step, and the request with it.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// A step panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

/// A step whose panic loses information about a request, but not the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GuardedStep {
    RequestHeaders,
    RequestBody,
    RequestModel,
    ResponseBody,
    ResponseModel,
}

/// Runs `run` and returns its result.
///
/// # Errors
/// Returns [`Panicked`] if it panics.
pub(crate) fn catch_panic<T>(step: GuardedStep, run: impl FnOnce() -> T) -> Result<T, Panicked> {
    let run = || {
        injected_panics::panic_if_injected(step);
        run()
    };
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| Panicked)
}

#[cfg(not(test))]
mod injected_panics {
    pub(super) fn panic_if_injected(_: super::GuardedStep) {}
}

/// Panics that tests inject.
#[cfg(test)]
mod injected_panics {
    use std::cell::Cell;

    use super::GuardedStep;

    thread_local! {
        pub(super) static INJECTED: Cell<Option<GuardedStep>> = const { Cell::new(None) };
    }

    pub(super) fn panic_if_injected(step: GuardedStep) {
        assert!(INJECTED.get() != Some(step), "injected panic");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use signalbox_protos::envoy::service::ext_proc::v3::body_mutation::Mutation;
    use signalbox_protos::envoy::service::ext_proc::v3::processing_request::Request as Message;
    use signalbox_protos::envoy::service::ext_proc::v3::processing_response::Response;
    use signalbox_protos::envoy::service::ext_proc::v3::{BodyResponse, HttpBody, HttpHeaders};
    use signalbox_types::{ModelRewrite, Models, RewriteRule, RewriteTarget};

    use super::*;
    use crate::{Action, Actions, Config, Conversation, Destination, Event, Outcome};

    const REQUEST_BODY: &[u8] = br#"{"model":"asked","prompt":"p"}"#;
    const RESPONSE_BODY: &[u8] = br#"data: {"model":"tuned","usage":{"prompt_tokens":1}}"#;

    fn headers(headers: &[(&str, &str)]) -> HttpHeaders {
        HttpHeaders { headers: Some(headers.iter().copied().collect()), ..HttpHeaders::default() }
    }

    fn body(body: &'static [u8]) -> HttpBody {
        HttpBody { body: Bytes::from_static(body), end_of_stream: true }
    }

    fn config_with_rewrite() -> Config {
        let target = RewriteTarget { model: "tuned".to_owned(), weight: None };
        let rules = vec![RewriteRule { models: Vec::new(), targets: vec![target] }];
        let rewrite = ModelRewrite { name: "r".to_owned(), created_ms: None, rules };
        Config { models: Arc::new(Models::new(Vec::new(), vec![rewrite])), ..Config::default() }
    }

    /// A complete conversation and its actions.
    struct FinishedConversation {
        conversation: Conversation,
        actions: Actions,
    }

    fn run_conversation(injected: Option<GuardedStep>) -> FinishedConversation {
        injected_panics::INJECTED.set(injected);
        let mut conversation = Conversation::new(config_with_rewrite(), 7);
        let request = [
            Message::RequestHeaders(headers(&[
                (":method", "POST"),
                (":path", "/v1/completions"),
                ("x-prefiller-host-port", "6.6.6.6:80"),
            ])),
            Message::RequestBody(body(REQUEST_BODY)),
        ];
        let response = [
            Message::ResponseHeaders(headers(&[(":status", "200"), ("content-type", "text/event-stream")])),
            Message::ResponseBody(body(RESPONSE_BODY)),
        ];
        let mut actions = Actions::new();
        let mut say = |conversation: &mut Conversation, message: Message| {
            actions.extend(conversation.step(Event::Message(message.into())));
            if matches!(actions.last(), Some(Action::Pick(_))) {
                let destination = Destination::from(std::net::SocketAddr::from(([10, 0, 0, 1], 80)));
                actions.extend(conversation.step(Event::Picked(Ok(destination))));
            }
        };
        request.into_iter().chain(response).for_each(|message| say(&mut conversation, message));
        injected_panics::INJECTED.set(None);
        FinishedConversation { conversation, actions }
    }

    impl FinishedConversation {
        fn panics(&self) -> usize {
            self.actions.iter().filter(|action| matches!(action, Action::Panicked)).count()
        }

        /// Returns the bodies that were passed on: the request's, then the response's.
        fn bodies(&self) -> [Vec<u8>; 2] {
            let mut bodies = [Vec::new(), Vec::new()];
            for action in &self.actions {
                let Action::Reply(reply) = action else { continue };
                let (at, BodyResponse { response: Some(common) }) = (match reply.response.clone() {
                    Some(Response::RequestBody(body)) => (0, body),
                    Some(Response::ResponseBody(body)) => (1, body),
                    _ => continue,
                }) else {
                    continue;
                };
                let Some(Mutation::StreamedResponse(chunk)) = common.body_mutation.unwrap().mutation else {
                    panic!("no chunk")
                };
                bodies[at].extend_from_slice(&chunk.body);
            }
            bodies
        }

        fn removed(&self) -> Vec<String> {
            let routed = self.actions.iter().find_map(|action| match action {
                Action::Reply(reply) => match reply.response.clone() {
                    Some(Response::RequestHeaders(headers)) => headers.response?.header_mutation,
                    _ => None,
                },
                _ => None,
            });
            routed.unwrap().remove_headers
        }
    }

    #[test]
    fn panic_in_any_step_does_not_fail_the_request() {
        let undisturbed = run_conversation(None);
        let (request, response) = (REQUEST_BODY, RESPONSE_BODY);
        let rewritten = |bytes: &[u8], from: &str, to: &str| {
            String::from_utf8(bytes.to_vec()).unwrap().replace(from, to).into_bytes()
        };
        let rewritten_request = rewritten(request, "asked", "tuned");
        let renamed_response = rewritten(response, "tuned", "asked");
        assert_eq!(
            (0, [rewritten_request.clone(), renamed_response.clone()]),
            (undisturbed.panics(), undisturbed.bodies())
        );
        for (step, expected) in [
            (GuardedStep::RequestHeaders, [request.to_vec(), response.to_vec()]),
            (GuardedStep::RequestBody, [request.to_vec(), response.to_vec()]),
            (GuardedStep::RequestModel, [request.to_vec(), renamed_response.clone()]),
            (GuardedStep::ResponseBody, [rewritten_request.clone(), renamed_response.clone()]),
            (GuardedStep::ResponseModel, [rewritten_request.clone(), response.to_vec()]),
        ] {
            let finished = run_conversation(Some(step));
            assert!(finished.panics() > 0, "{step:?}");
            assert_eq!(expected, finished.bodies(), "{step:?}");
            assert_eq!(Outcome::Complete, finished.conversation.outcome());
            assert!(finished.removed().contains(&"x-prefiller-host-port".to_owned()), "{step:?}");
            assert!(finished.conversation.request_id().is_some());
        }
    }
}
