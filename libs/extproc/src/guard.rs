//! A fault of the picker's own, a panic, shall not cost a request.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Something panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

/// Where a fault costs knowledge of a request, and not the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    RequestHeaders,
    RequestBody,
    Rewrite,
    Answer,
    Rename,
}

/// What `run` gives.
///
/// # Errors
/// [`Panicked`] where it does that.
pub(crate) fn guarded<T>(place: Place, run: impl FnOnce() -> T) -> Result<T, Panicked> {
    let run = || {
        faults::at(place);
        run()
    };
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| Panicked)
}

#[cfg(not(test))]
mod faults {
    pub(super) fn at(_: super::Place) {}
}

/// Faults that tests make.
#[cfg(test)]
mod faults {
    use std::cell::Cell;

    use super::Place;

    thread_local! {
        pub(super) static AT: Cell<Option<Place>> = const { Cell::new(None) };
    }

    pub(super) fn at(place: Place) {
        assert!(AT.get() != Some(place), "a fault, as it is meant here");
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

    const BODY: &[u8] = br#"{"model":"asked","prompt":"p"}"#;
    const ANSWER: &[u8] = br#"data: {"model":"tuned","usage":{"prompt_tokens":1}}"#;

    fn headers(headers: &[(&str, &str)]) -> HttpHeaders {
        HttpHeaders { headers: Some(headers.iter().copied().collect()), ..HttpHeaders::default() }
    }

    fn body(body: &'static [u8]) -> HttpBody {
        HttpBody { body: Bytes::from_static(body), end_of_stream: true }
    }

    fn rewriting() -> Config {
        let target = RewriteTarget { model: "tuned".to_owned(), weight: None };
        let rules = vec![RewriteRule { models: Vec::new(), targets: vec![target] }];
        let rewrite = ModelRewrite { name: "r".to_owned(), created_ms: None, rules };
        Config { models: Arc::new(Models::new(Vec::new(), vec![rewrite])), ..Config::default() }
    }

    /// A whole conversation, and how many faults it had.
    struct Held {
        conversation: Conversation,
        actions: Actions,
    }

    fn held(fault: Option<Place>) -> Held {
        faults::AT.set(fault);
        let mut conversation = Conversation::new(rewriting(), 7);
        let request = [
            Message::RequestHeaders(headers(&[
                (":method", "POST"),
                (":path", "/v1/completions"),
                ("x-prefiller-host-port", "6.6.6.6:80"),
            ])),
            Message::RequestBody(body(BODY)),
        ];
        let response = [
            Message::ResponseHeaders(headers(&[(":status", "200"), ("content-type", "text/event-stream")])),
            Message::ResponseBody(body(ANSWER)),
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
        faults::AT.set(None);
        Held { conversation, actions }
    }

    impl Held {
        fn faults(&self) -> usize {
            self.actions.iter().filter(|action| matches!(action, Action::Panicked)).count()
        }

        /// What is sent on of the request, then of the response.
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
    fn a_fault_anywhere_costs_no_request() {
        let whole = held(None);
        let (request, response) = (BODY, ANSWER);
        let rewritten = |bytes: &[u8], from: &str, to: &str| {
            String::from_utf8(bytes.to_vec()).unwrap().replace(from, to).into_bytes()
        };
        let other_request = rewritten(request, "asked", "tuned");
        let other_response = rewritten(response, "tuned", "asked");
        assert_eq!((0, [other_request.clone(), other_response.clone()]), (whole.faults(), whole.bodies()));
        for (place, expected) in [
            (Place::RequestHeaders, [request.to_vec(), response.to_vec()]),
            (Place::RequestBody, [request.to_vec(), response.to_vec()]),
            (Place::Rewrite, [request.to_vec(), other_response.clone()]),
            (Place::Answer, [other_request.clone(), other_response.clone()]),
            (Place::Rename, [other_request.clone(), response.to_vec()]),
        ] {
            let held = held(Some(place));
            assert!(held.faults() > 0, "{place:?}");
            assert_eq!(expected, held.bodies(), "{place:?}");
            assert_eq!(Outcome::Complete, held.conversation.outcome());
            assert!(held.removed().contains(&"x-prefiller-host-port".to_owned()), "{place:?}");
            assert!(held.conversation.request_id().is_some());
        }
    }
}
