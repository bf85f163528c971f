use std::sync::{Arc, Mutex};

use signalbox_admission::{FlowControl, FlowMode};
use signalbox_flow::DropReason;
use signalbox_schedule::Policy;
use signalbox_state::{Bookings, ResponseOutcome};
use signalbox_types::{BlockHash, Origin};

use super::*;
use crate::flow_control::Gate;
use crate::test_support::{
    FIRST, SECOND, THIRD, granted, picker, picker_for, picker_with_feedback, pool, pool_with_draining,
    prompt_of, report_five,
};

/// Returns the address picked for a request that may go to the endpoints of `subset`, or to any, and has waited if it had
/// to.
fn picked(picker: &Picker, subset: Option<&[&str]>) -> Result<String, Refusal> {
    let mut parsed = ParsedRequest::default();
    parsed.request.subset = subset.map(|subset| Subset::from_iter(subset.iter().copied()));
    match picker.pick_or_fall_back(parsed, granted()) {
        Ok(picked) => Ok(picked.destination.as_str().to_owned()),
        Err(NotPicked::Refused(refusal)) => Err(refusal),
        Err(NotPicked::Waits(_)) => panic!("a request waits once"),
    }
}

/// Returns what happens to a request of `priority` that arrives.
fn arrival(picker: &Picker, priority: i32) -> &'static str {
    arrival_for(picker, priority, None)
}

/// Returns what happens to a request that may go to the endpoint `only`, or to any.
fn arrival_for(picker: &Picker, priority: i32, only: Option<&str>) -> &'static str {
    let mut parsed = prompt_of(20, 256);
    parsed.request.priority = priority;
    parsed.request.subset = only.map(|only| Subset::from_iter([only]));
    match picker.pick_or_fall_back(parsed, RequestContext::default()) {
        // The request is served for the rest of the test.
        Ok(picked) => {
            std::mem::forget(picked);
            "goes"
        }
        Err(NotPicked::Refused(Refusal::Shed)) => "is shed",
        Err(NotPicked::Refused(refusal)) => panic!("{refusal}"),
        Err(NotPicked::Waits(_)) => "waits",
    }
}

#[test]
fn requests_wait_when_every_endpoint_has_work_for_the_hold_time() {
    let picker = picker(&[FIRST, SECOND]);
    // No adapter, no rates: prompts of 1,280 tokens at the default rate.
    let arrivals: Vec<_> = (0..200).map(|_| arrival(&picker, 0)).collect();
    let first = arrivals.iter().position(|what| *what == "waits").expect("the pool is full at last");
    assert!(first >= 2, "one of the endpoints was idle");
    assert!(arrivals[first..].iter().all(|what| *what == "waits"));
    let booked: Vec<_> = picker.bookings.loads().iter().map(|(_, load)| load.requests).collect();
    assert_eq!(booked.iter().sum::<u32>() as usize, first);
    assert!(booked[0].abs_diff(booked[1]) <= 1, "{booked:?}");
}

#[test]
fn without_flow_control_only_sheddable_requests_are_refused() {
    let control = FlowControl { mode: FlowMode::Off, ..FlowControl::default() };
    let mut picker = picker(&[FIRST]);
    picker.gate = Arc::new(Gate::new(control, 1, Arc::default()));
    let arrivals: Vec<_> = (0..200).map(|_| arrival(&picker, 0)).collect();
    assert!(arrivals.iter().all(|what| *what == "goes"));
    assert_eq!(["is shed", "goes"], [-1, 0].map(|priority| arrival(&picker, priority)));
}

/// The owner would grant it a place at once.
#[test]
fn one_busy_endpoint_neither_delays_nor_sheds_while_the_pool_has_room() {
    for mode in [FlowMode::On, FlowMode::Off] {
        let mut picker = picker(&[FIRST, SECOND, THIRD]);
        picker.gate = Arc::new(Gate::new(FlowControl { mode, ..FlowControl::default() }, 1, Arc::default()));
        for number in 0..200 {
            let priority = -(number % 2);
            assert_eq!("goes", arrival_for(&picker, priority, Some("10.0.0.1")), "{mode:?} {number}");
        }
    }
}

#[test]
fn request_waits_for_the_first_endpoint_but_not_for_one_outside_its_subset() {
    assert_eq!("waits", arrival(&picker(&[]), 0));
    let all_drain = picker_for(&pool_with_draining(&[FIRST], &[FIRST]), Policy::default());
    assert_eq!("waits", arrival(&all_drain, -1));
    let mut parsed = ParsedRequest::default();
    parsed.request.subset = Some(Subset::default());
    let picked = picker(&[FIRST]).pick_or_fall_back(parsed, RequestContext::default());
    assert!(matches!(picked, Err(NotPicked::Refused(Refusal::NoEndpoint))), "{picked:?}");
}

#[test]
fn contract_3_3_row_14_empty_pool_or_subset_is_refused() {
    assert!(matches!(picked(&picker(&[]), None), Err(Refusal::NoEndpoint)));
    for subset in [&[][..], &["10.0.0.9"], &["10.0.0.1:81"]] {
        assert!(matches!(picked(&picker(&[FIRST]), Some(subset)), Err(Refusal::NoEndpoint)), "{subset:?}");
    }
}

#[test]
fn contract_3_3_row_15_scrape_status_never_rules_out_the_last_endpoint() {
    for scrape_status in [ScrapeStatus::Unknown, ScrapeStatus::Stale, ScrapeStatus::Down] {
        let picker = picker_for(&pool(&[FIRST, SECOND], scrape_status), Policy::default());
        assert_eq!(scrape_status, picker.snapshot.load().view.endpoints[0].observed.scrape_status);
        assert_eq!(SECOND, picked(&picker, Some(&["10.0.0.2"])).unwrap());
    }
}

#[test]
fn contract_3_3_row_16_requests_that_filters_leave_no_endpoint_are_refused_as_saturated() {
    let text = "
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- { type: label-selector-filter, parameters: { matchLabels: { role: none-has-it } } }
schedulingProfiles:
- { name: default, plugins: [{ pluginRef: label-selector-filter }] }
";
    let picker =
        picker_for(&pool(&[FIRST], ScrapeStatus::Unknown), signalbox_config::parse(text).unwrap().policy());
    assert!(matches!(picked(&picker, None), Err(Refusal::Saturated)));
    assert!(matches!(picked(&picker, Some(&[])), Err(Refusal::NoEndpoint)), "there was nothing to filter");
}

#[test]
fn contract_3_3_row_17_panic_while_deciding_still_gets_an_answer() {
    let picker = picker(&[FIRST, SECOND]);
    let faulty = |subset: &Subset| {
        picker.or_fall_back(Some(subset), None, || panic!("this panic is part of the test"))
    };
    let picked = faulty(&Subset::from_iter(["10.0.0.2"])).unwrap();
    assert_eq!(SECOND, picked.destination.as_str());
    assert_eq!(1, picker.bookings.loads().len());
    drop(picked);
    assert!(picker.bookings.loads().is_empty());
    assert!(matches!(faulty(&Subset::default()), Err(NotPicked::Refused(Refusal::NoEndpoint))));
    assert_eq!(2, picker.metrics.caught_panics.get());
}

#[test]
fn contract_3_3_row_18_every_decision_picks_an_endpoint_if_there_is_one() {
    for count in 1..=3 {
        let picker = picker(&[FIRST, SECOND, THIRD][..count]);
        for number in 0..20 {
            let mut parsed =
                ParsedRequest { chain: vec![BlockHash(number); number as usize], ..ParsedRequest::default() };
            parsed.request.prompt_tokens = [0, 1, 1 << 20, u64::MAX >> 20][number as usize % 4];
            let picked = picker.pick(parsed, RequestContext::default()).unwrap();
            assert!([FIRST, SECOND, THIRD][..count].contains(&picked.destination.as_str()));
        }
    }
}

#[test]
fn decision_stays_within_the_allowed_endpoints() {
    let picker = picker(&[FIRST, SECOND, THIRD]);
    for _ in 0..50 {
        assert_ne!(SECOND, picked(&picker, Some(&["10.0.0.1", "10.0.0.3"])).unwrap());
    }
}

#[test]
fn draining_endpoint_gets_no_request_even_after_a_panic() {
    let picker = picker_for(&pool_with_draining(&[FIRST, SECOND], &[FIRST]), Policy::default());
    for _ in 0..20 {
        assert_eq!(SECOND, picked(&picker, None).unwrap());
        let fallback = picker.or_fall_back(None, None, || panic!("this panic is part of the test"));
        assert_eq!(SECOND, fallback.unwrap().destination.as_str());
    }
    assert!(matches!(picked(&picker, Some(&["10.0.0.1"])), Err(Refusal::NoEndpoint)));
    let all = picker_for(&pool_with_draining(&[FIRST, SECOND], &[FIRST, SECOND]), Policy::default());
    assert!(matches!(picked(&all, None), Err(Refusal::NoEndpoint)), "as in an empty pool");
}

#[test]
fn uplink_is_woken_after_the_placement_is_queued() {
    let (mut picker, _feedback) =
        picker_with_feedback(&pool(&[FIRST], ScrapeStatus::Fresh), Policy::default());
    let queued_at_ring = Arc::new(Mutex::new(Vec::new()));
    let (placements, rings) = (picker.placements.clone(), Arc::clone(&queued_at_ring));
    let note = move || rings.lock().unwrap().push(placements.max_capacity() - placements.capacity());
    picker.bookings = Bookings::new(Arc::new(note));
    let picked = picker.pick(prompt_of(20, 256), RequestContext::default()).unwrap();
    let queued_at_ring = queued_at_ring.lock().unwrap().clone();
    assert_eq!([1], *queued_at_ring, "once, with the placement in the queue");
    drop(picked);
}

#[test]
fn fallbacks_and_scores_leave_out_worse_tiers() {
    let mut pool = pool(&[FIRST, SECOND, THIRD], ScrapeStatus::Fresh);
    report_five(&mut pool, Origin(9), SECOND, ResponseOutcome::Failed);
    let mut picker = picker_for(&pool, Policy::default());
    (picker.fallback_endpoints, picker.scores) = (2, EndpointScores::Emitted);
    for _ in 0..20 {
        let picked = picker.pick(ParsedRequest::default(), RequestContext::default()).unwrap();
        let destination = picked.destination.as_str();
        assert!([format!("{FIRST},{THIRD}"), format!("{THIRD},{FIRST}")].contains(&destination.to_owned()));
        assert!(!destination.contains(SECOND));
    }
}

#[test]
fn each_request_that_arrives_is_counted_once() {
    let picker = picker(&[FIRST]);
    let arrivals: Vec<_> = (0..20).map(|_| arrival(&picker, 0)).collect();
    assert!(arrivals.contains(&"goes") && arrivals.contains(&"waits"), "{arrivals:?}");
    let counts = picker.arrivals.counts();
    let prompt = 20 * 256 / 4; // tokens of four bytes
    assert_eq!((20, 20 * prompt, 0), (counts.requests, counts.prefill_tokens, counts.refused));
    assert!(counts.output_tokens > 0);
    // What goes after it has waited has arrived before.
    let waited = picker.pick_or_fall_back(prompt_of(20, 256), granted());
    assert!(waited.is_ok());
    assert_eq!(counts, picker.arrivals.counts());
    picker.refuse_for(DropReason::Saturated, 0);
    assert_eq!(1, picker.arrivals.counts().refused);
}

#[test]
fn refused_requests_have_arrived_too() {
    let control = FlowControl { mode: FlowMode::Off, ..FlowControl::default() };
    let mut without_endpoints = picker(&[]);
    without_endpoints.gate = Arc::new(Gate::new(control, 1, Arc::default()));
    assert!(without_endpoints.pick_or_fall_back(prompt_of(20, 256), RequestContext::default()).is_err());
    let counts = without_endpoints.arrivals.counts();
    assert_eq!((1, 1), (counts.requests, counts.refused));
}
