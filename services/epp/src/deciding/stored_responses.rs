//! Sends requests that name an earlier response to the endpoint that keeps it.

use signalbox_intake::ParsedRequest;
use signalbox_state::{ResponseOutcome, ResponseReport, View};
use signalbox_types::{EndpointKey, ModelKey, ResponseKey, Subset};

use super::picker::{FeedbackEvent, Picker};

/// What is known of the stored response that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The request names none.
    NotNamed,
    /// The endpoint that keeps it.
    Endpoint,
    /// Its endpoint takes no requests, is not of the pool any more, or is not allowed by the gateway.
    Unavailable,
    /// No endpoint is known to keep it.
    Unknown,
}

impl Picker {
    /// Notes that `endpoint` keeps a response, and tells the pool's owner.
    pub(crate) fn record_stored_response(&self, response: ResponseKey, endpoint: EndpointKey) {
        self.own_responses.record(response, endpoint);
        let (model, outcome) = (ModelKey::default(), ResponseOutcome::Stored(response));
        self.report(FeedbackEvent::Response(ResponseReport { endpoint, model, outcome }));
    }

    /// Notes that `endpoint` has deleted a response, and tells the pool's owner.
    pub(crate) fn forget_stored_response(&self, response: ResponseKey, endpoint: EndpointKey) {
        self.own_responses.forget(response);
        let (model, outcome) = (ModelKey::default(), ResponseOutcome::Deleted(response));
        self.report(FeedbackEvent::Response(ResponseReport { endpoint, model, outcome }));
    }

    /// Returns the endpoints to which a request may go: only the one that keeps the response which the request names, if that
    /// takes requests and the gateway allows it; else those that the gateway allows. Any endpoint can tell the client that it
    /// does not have a response.
    pub(super) fn find_stored_response(
        &self,
        view: &View,
        parsed: &ParsedRequest,
    ) -> (Found, Option<Subset>) {
        let allowed = &parsed.request.subset;
        let Some(response) = parsed.stored_response else { return (Found::NotNamed, allowed.clone()) };
        let known = view.stored_responses().get(response).or_else(|| self.own_responses.find(response));
        let Some(endpoint) = known else { return (Found::Unknown, allowed.clone()) };
        let member = view.endpoints.get(endpoint).filter(|member| !member.spec.is_draining);
        let address = member.map(|member| member.spec.address);
        match address.filter(|address| allowed.as_ref().is_none_or(|subset| subset.allows(*address))) {
            Some(address) => (Found::Endpoint, Some(Subset::from_iter([address.to_string().as_str()]))),
            None => (Found::Unavailable, allowed.clone()),
        }
    }

    pub(super) fn count_stored_response_request(&self, found: Found) {
        let kind = match found {
            Found::NotNamed => return,
            Found::Endpoint => "found",
            Found::Unavailable => "unavailable",
            Found::Unknown => "unknown",
        };
        self.metrics.count_stored_response_request(kind);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use signalbox_schedule::Policy;
    use signalbox_state::{Feedback, GaugeScope, PoolInput, ScrapeStatus};
    use signalbox_types::Origin;

    use super::*;
    use crate::test_support::{
        FIRST, SECOND, granted, picker_with_feedback, pool, pool_with_draining, prompt_of, show,
    };

    fn naming(response: ResponseKey) -> ParsedRequest {
        ParsedRequest { stored_response: Some(response), ..prompt_of(4, 256) }
    }

    fn picked(picker: &Picker, parsed: ParsedRequest) -> String {
        picker.pick(parsed, granted()).unwrap().destination.to_string()
    }

    #[tokio::test]
    async fn request_goes_where_its_response_is_stored_whatever_else_speaks_against_it() {
        let mut pool = pool(&[FIRST, SECOND], ScrapeStatus::Fresh);
        let (picker, mut feedback) = picker_with_feedback(&pool, Policy::default());
        let view = Arc::clone(&picker.snapshot.load());
        let endpoint = |address: &str| {
            view.view.endpoints.iter().find(|of| of.spec.address.to_string() == address).unwrap().key
        };
        let response = ResponseKey::of("resp_1");
        picker.record_stored_response(response, endpoint(SECOND));
        // The second endpoint is the busier one.
        let _busy: Vec<_> = (0..8).map(|_| picker.bookings.reserve(endpoint(SECOND), 100_000)).collect();
        assert_eq!(FIRST, picked(&picker, prompt_of(4, 256)));
        assert_eq!(SECOND, picked(&picker, naming(response)), "this replica's own knowledge");
        // The owner learns of it, and another replica from the owner.
        let Ok(FeedbackEvent::Response(report)) = feedback.events.try_recv() else { panic!("no report") };
        pool.handle(
            0,
            PoolInput::Feedback(Feedback {
                epoch: 1,
                responses: vec![report],
                ..Feedback::new(Origin(9), 1, GaugeScope::Changed)
            }),
        );
        let (other, _feedback) = picker_with_feedback(&pool, Policy::default());
        let _busy: Vec<_> = (0..8).map(|_| other.bookings.reserve(endpoint(SECOND), 100_000)).collect();
        assert_eq!(SECOND, picked(&other, naming(response)));
        assert_eq!(FIRST, picked(&other, naming(ResponseKey::of("resp_unknown"))));
        let mut elsewhere = naming(response);
        elsewhere.request.subset = Some(Subset::from_iter([FIRST]));
        assert_eq!(FIRST, picked(&other, elsewhere), "the gateway allows only the other endpoint");
        show(&other, &pool_with_draining(&[FIRST, SECOND], &[SECOND]));
        assert_eq!(FIRST, picked(&other, naming(response)), "the endpoint drains");
    }
}
