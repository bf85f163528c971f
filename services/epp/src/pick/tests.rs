use signalbox_schedule::Policy;

use super::*;
use crate::staged::{FIRST, SECOND, THIRD, desk_of, picker, pool};

/// What a request gets that may go to these endpoints, or to any.
fn picked(picker: &Picker, subset: Option<&[&str]>) -> Result<String, Refusal> {
    let mut intake = Intake::default();
    intake.request.subset = subset.map(|subset| Subset::from_iter(subset.iter().copied()));
    let picked = picker.pick_or_fall_back(intake, Source::default());
    picked.map(|picked| picked.destination.as_str().to_owned())
}

#[test]
fn contract_3_3_row_14_a_pool_or_a_subset_without_endpoints() {
    assert!(matches!(picked(&picker(&[]), None), Err(Refusal::NoEndpoint)));
    for subset in [&[][..], &["10.0.0.9"], &["10.0.0.1:81"]] {
        assert!(matches!(picked(&picker(&[FIRST]), Some(subset)), Err(Refusal::NoEndpoint)), "{subset:?}");
    }
}

#[test]
fn contract_3_3_row_15_nothing_is_known_that_rules_out_the_last_endpoints() {
    for scrape_status in [ScrapeStatus::Unknown, ScrapeStatus::Stale, ScrapeStatus::Down] {
        let picker = desk_of(&pool(&[FIRST, SECOND], scrape_status), Policy::default());
        assert_eq!(scrape_status, picker.snapshot.load().view.endpoints[0].observed.scrape_status);
        assert_eq!(SECOND, picked(&picker, Some(&["10.0.0.2"])).unwrap());
    }
}

#[test]
fn contract_3_3_row_16_filters_that_leave_none() {
    let text = "
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- { type: label-selector-filter, parameters: { matchLabels: { role: none-has-it } } }
schedulingProfiles:
- { name: default, plugins: [{ pluginRef: label-selector-filter }] }
";
    let picker =
        desk_of(&pool(&[FIRST], ScrapeStatus::Unknown), signalbox_config::parse(text).unwrap().policy());
    assert!(matches!(picked(&picker, None), Err(Refusal::Saturated)));
    assert!(matches!(picked(&picker, Some(&[])), Err(Refusal::NoEndpoint)), "there was nothing to filter");
}

#[test]
fn contract_3_3_row_17_a_fault_in_deciding_costs_no_answer() {
    let picker = picker(&[FIRST, SECOND]);
    let faulty =
        |subset: &Subset| picker.or_fall_back(Some(subset), None, || panic!("a fault, as it is meant here"));
    let picked = faulty(&Subset::from_iter(["10.0.0.2"])).unwrap();
    assert_eq!(SECOND, picked.destination.as_str());
    assert_eq!(1, picker.bookings.whole().len());
    drop(picked);
    assert!(picker.bookings.whole().is_empty());
    assert!(matches!(faulty(&Subset::default()), Err(Refusal::NoEndpoint)));
    assert_eq!(2, picker.metrics.panics.get());
}

#[test]
fn contract_3_3_row_18_deciding_comes_to_an_endpoint_where_there_is_one() {
    for count in 1..=3 {
        let picker = picker(&[FIRST, SECOND, THIRD][..count]);
        for asked in 0..20 {
            let mut intake = Intake { chain: vec![BlockHash(asked); asked as usize], ..Intake::default() };
            intake.request.prompt_tokens = [0, 1, 1 << 20, u64::MAX >> 20][asked as usize % 4];
            let picked = picker.pick(intake, Source::default()).unwrap();
            assert!([FIRST, SECOND, THIRD][..count].contains(&picked.destination.as_str()));
        }
    }
}

#[test]
fn a_decision_is_one_of_the_endpoints_that_are_allowed() {
    let picker = picker(&[FIRST, SECOND, THIRD]);
    for _ in 0..50 {
        assert_ne!(SECOND, picked(&picker, Some(&["10.0.0.1", "10.0.0.3"])).unwrap());
    }
}
