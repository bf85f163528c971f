use signalbox_intake::Parsers;
use signalbox_schedule::Policy;

use super::*;
use crate::test_support::{FIRST, picker, picker_settings, picker_with, pool};

const CHAT: &[u8] = br#"{"model":"m","messages":[{"role":"user","content":"Hello, how are you today?"}]}"#;

fn headers(named: &[(&'static str, &'static str)]) -> HeaderMap {
    named.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

fn read_chat(
    picker: &Picker,
    named: &[(&'static str, &'static str)],
    path: Option<&str>,
) -> Result<ParsedRequest, String> {
    let read = read(picker, gateway_headers(&headers(named), path), Bytes::from_static(CHAT));
    read.map_err(|refused| refused.to_string())
}

#[test]
fn headers_and_path_count_as_for_a_request() {
    let picker = picker(&[FIRST]);
    let parsed = read_chat(
        &picker,
        &[
            ("x-llm-d-inference-fairness-id", "team"),
            ("x-llm-d-slo-ttft-ms", "250"),
            ("host", "127.0.0.1:9090"),
            ("content-type", CURL_DEFAULT),
        ],
        None,
    );
    let parsed = parsed.unwrap();
    assert_eq!(
        (Api::Chat, Some("team"), Some(250)),
        (parsed.api, parsed.request.flow.as_deref(), parsed.request.ttft_goal_ms)
    );
    let tokenize = read_chat(&picker, &[("content-type", CURL_DEFAULT)], Some("/tokenize")).unwrap();
    assert_eq!((Api::ModelJson, "m"), (tokenize.api, tokenize.request.model.as_str()));
    assert_eq!(Api::Opaque, read_chat(&picker, &[], Some("/v1/files")).unwrap().api);
}

#[test]
fn what_would_be_refused_is_refused() {
    let missing = read_chat(&picker(&[FIRST]), &[], Some("/v1/completions")).unwrap_err();
    assert!(missing.starts_with("would be refused with 400: "), "{missing}");
    let mut settings = picker_settings(Policy::default());
    settings.conversations.parsers = Parsers::new(["anthropic-parser".to_owned()]).into();
    let picker = picker_with(settings, &pool(&[FIRST], signalbox_state::ScrapeStatus::Fresh));
    let unlisted = read_chat(&picker, &[], Some("/v1/chat/completions")).unwrap_err();
    assert!(unlisted.contains("no parser registered"), "{unlisted}");
}

#[test]
fn pool_without_endpoints_makes_the_request_wait() {
    let picker = picker(&[]);
    let parsed = read_chat(&picker, &[], None).unwrap();
    let expected = ExpectedAdmission::Waits { behind_priority: None, behind_requests: 0, ahead_requests: 0 };
    let counts = picker.arrivals.counts();
    assert_eq!(expected, picker.explain(&parsed, 77).admission);
    assert_eq!(counts, picker.arrivals.counts(), "no request has arrived");
    let held = picker.pick(parsed.clone(), Default::default());
    let Err(crate::deciding::admission::NotPicked::Waits(held)) = held else { panic!("the pool is empty") };
    assert_ne!(counts, picker.arrivals.counts());
    let _place = picker.wait(&held, 77).unwrap();
    let behind = ExpectedAdmission::Waits { behind_priority: Some(0), behind_requests: 1, ahead_requests: 1 };
    assert_eq!(behind, picker.explain(&parsed, 77).admission);
}

#[test]
fn invalid_request_has_no_decision_and_an_unknown_body_needs_a_path() {
    let picker = picker(&[FIRST]);
    let explained =
        |body: &'static [u8], path| explain(&picker, &HeaderMap::new(), path, Bytes::from_static(body));
    let invalid = explained(b"{\"model\":", None).unwrap();
    assert!(matches!(invalid.admission, ExpectedAdmission::Refused { status: 400, .. }), "{invalid:?}");
    assert_eq!(None, invalid.explanation);
    assert!(explained(b"{\"model\":\"m\"}", None).unwrap_err().contains("path"));
    assert!(explained(b"{\"model\":\"m\"}", Some("/v1/files")).unwrap().explanation.is_some());
}
