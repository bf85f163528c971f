use signalbox_intake::ParsedRequest;
use signalbox_schedule::Policy;
use signalbox_state::{PoolInput, ScrapeStatus};
use signalbox_types::ModelKey;

use super::*;
use crate::deciding::picker::FeedbackReceivers;
use crate::test_support::{FIRST, SECOND, granted, picker_with_feedback, pool, prompt_of, report_five, show};

const MODEL: &str = "m";

/// Picks an endpoint for a streamed request with a prompt of this many bytes.
fn booked(picker: &Picker, blocks: u64) -> BookedRequest {
    let parsed = ParsedRequest { delivery: Delivery::Streamed, ..prompt_of(blocks, 256) };
    picker.pick(parsed, granted()).unwrap().booked
}

fn only_endpoint() -> (Picker, FeedbackReceivers) {
    picker_with_feedback(&pool(&[FIRST], ScrapeStatus::Fresh), Policy::default())
}

/// Returns what was reported since the last call: outcomes, and usage.
fn reported(feedback: &mut FeedbackReceivers) -> (Vec<ResponseOutcome>, Vec<UsageReport>) {
    let (mut outcomes, mut usages) = (Vec::new(), Vec::new());
    while let Ok(event) = feedback.events.try_recv() {
        match event {
            FeedbackEvent::Response(response) => {
                assert_eq!(ModelKey::of(MODEL), response.model);
                outcomes.push(response.outcome);
            }
            FeedbackEvent::Usage(usage) => usages.push(usage),
            FeedbackEvent::AdapterUsed(..) => {}
        }
    }
    (outcomes, usages)
}

#[tokio::test]
async fn six_streamed_400s_teach_nothing_and_count_nowhere() {
    let (picker, mut feedback) = only_endpoint();
    for status in [400, 413, 422, 400, 400, 400] {
        let mut booked = booked(&picker, 100);
        booked.handle_response_headers(&picker, Some(status));
        booked.handle_first_output(&picker, FirstOutput::Streamed);
        booked.end(&picker);
        assert_eq!((Vec::new(), Vec::new()), reported(&mut feedback), "{status}");
    }
    assert!(picker.bookings.loads().is_empty());
}

#[tokio::test]
async fn streamed_request_answered_with_a_client_error_is_over() {
    let (picker, _feedback) = only_endpoint();
    for (status, is_over) in [(400, true), (413, true), (422, true), (200, false)] {
        let mut booked = booked(&picker, 100);
        booked.handle_response_headers(&picker, Some(status));
        assert_eq!(is_over, booked.is_over(), "{status}");
    }
}

#[tokio::test]
async fn hidden_body_of_a_success_is_reported_once() {
    let (picker, mut feedback) = only_endpoint();
    let mut booked = booked(&picker, 100);
    booked.handle_response_headers(&picker, Some(200));
    booked.report_hidden_success(&picker);
    booked.end_hidden(&picker);
    assert_eq!((vec![ResponseOutcome::FirstOutput], Vec::new()), reported(&mut feedback));
}

#[tokio::test]
async fn response_with_an_unknown_status_counts_neither_as_success_nor_as_failure() {
    let (picker, mut feedback) = only_endpoint();
    let mut booked = booked(&picker, 100);
    booked.handle_response_headers(&picker, None);
    booked.handle_error(&picker, Some(500));
    booked.end(&picker);
    assert_eq!((Vec::new(), Vec::new()), reported(&mut feedback));
}

#[tokio::test]
async fn refusals_and_failures_are_told_apart_and_keep_their_place_in_decisions() {
    let (picker, mut feedback) = only_endpoint();
    for (status, outcome) in
        [(404, ResponseOutcome::Refused), (429, ResponseOutcome::Refused), (503, ResponseOutcome::Failed)]
    {
        let mut booked = booked(&picker, 100);
        let gauge = picker.bookings.gauge(booked.endpoint);
        let before = gauge.unserved().requests;
        booked.handle_response_headers(&picker, Some(status));
        booked.end(&picker);
        assert_eq!((vec![outcome], Vec::new()), reported(&mut feedback), "{status}");
        assert_eq!((0, before + 1), (gauge.load().requests, gauge.unserved().requests));
    }
}

#[tokio::test]
async fn a_stream_that_ends_or_errs_before_any_output_is_a_refusal() {
    let (picker, mut feedback) = only_endpoint();
    let mut early = booked(&picker, 100);
    early.handle_response_headers(&picker, Some(200));
    early.end(&picker);
    let mut erring = booked(&picker, 100);
    erring.handle_response_headers(&picker, Some(200));
    erring.handle_error(&picker, None);
    erring.end(&picker);
    assert_eq!((vec![ResponseOutcome::Refused; 2], Vec::new()), reported(&mut feedback));
    let mut left_by_client = booked(&picker, 100);
    left_by_client.handle_response_headers(&picker, Some(200));
    left_by_client.abort(&picker);
    assert_eq!((Vec::new(), Vec::new()), reported(&mut feedback));
    let mut empty = booked(&picker, 100);
    empty.handle_response_headers(&picker, Some(200));
    empty.handle_usage(&picker, &Usage { prompt_tokens: Some(6_400), ..Usage::default() });
    empty.end(&picker);
    assert_eq!(Vec::<ResponseOutcome>::new(), reported(&mut feedback).0, "the engine had nothing to say");
}

#[tokio::test]
async fn usage_is_reported_once_at_the_end_with_the_time_of_a_sole_prefill() {
    let (picker, mut feedback) = only_endpoint();
    let (mut alone, mut behind) = (booked(&picker, 100), booked(&picker, 50));
    let usage = Usage { prompt_tokens: Some(7_000), cached_tokens: Some(640), completion_tokens: Some(9) };
    for booked in [&mut alone, &mut behind] {
        booked.handle_response_headers(&picker, Some(200));
        booked.handle_first_output(&picker, FirstOutput::Streamed);
        booked.handle_usage(&picker, &usage);
    }
    assert_eq!((vec![ResponseOutcome::FirstOutput; 2], Vec::new()), reported(&mut feedback));
    alone.end(&picker);
    behind.end(&picker);
    let (outcomes, usages) = reported(&mut feedback);
    assert!(outcomes.is_empty());
    let told = usages.iter().map(|usage| {
        ([usage.prompt_tokens, usage.cached_tokens, usage.output_tokens], usage.sole_prefill_us.is_some())
    });
    let expected = [Some(7_000), Some(640), Some(9)];
    assert_eq!(vec![(expected, true), (expected, false)], told.collect::<Vec<_>>());
    assert_eq!((100 * 256, ModelKey::of(MODEL)), (usages[0].text_bytes, usages[0].model));
}

#[tokio::test]
async fn output_of_unknown_status_and_whole_documents_measure_no_prefill() {
    let (picker, mut feedback) = only_endpoint();
    for (status, output) in
        [(None, FirstOutput::Streamed), (Some(200), FirstOutput::Whole), (Some(200), FirstOutput::Unread)]
    {
        let mut booked = booked(&picker, 100);
        booked.handle_response_headers(&picker, status);
        booked.handle_first_output(&picker, output);
        booked.end(&picker);
        assert!(reported(&mut feedback).1.is_empty(), "{status:?} {output:?}");
    }
}

#[tokio::test]
async fn a_half_open_model_gets_one_probe() {
    let mut pool = pool(&[FIRST, SECOND], ScrapeStatus::Fresh);
    let (picker, mut feedback) = picker_with_feedback(&pool, Policy::default());
    report_five(&mut pool, picker.origin(), FIRST, ResponseOutcome::Refused);
    pool.handle(1_000, PoolInput::Tick);
    show(&picker, &pool);
    let first = picker
        .snapshot
        .load()
        .view
        .endpoints
        .iter()
        .find(|member| member.spec.address.to_string() == FIRST)
        .unwrap()
        .key;
    let booked: Vec<_> = (0..40).map(|_| booked(&picker, 1)).collect();
    assert_eq!(1, booked.iter().filter(|booked| booked.endpoint == first).count());
    assert_eq!(vec![ResponseOutcome::ProbeSent], reported(&mut feedback).0);
}
