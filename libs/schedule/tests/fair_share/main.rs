//! No endpoint gets much more than its share by what it answers, in whatever order and however quickly.
#![allow(clippy::unwrap_used)]

mod fleet;

use fleet::{Answer, Delay, Fleet, Told};
use proptest::collection::vec;
use proptest::prelude::*;

/// Returns by how much the requests to endpoint 0 exceed twice its fair share of `picked`, at most over all
/// stretches of consecutive requests.
fn excess(picked: &[usize], endpoints: usize) -> f64 {
    let allowed = 2.0 / endpoints as f64;
    let (mut current, mut most) = (0.0_f64, 0.0_f64);
    for position in picked {
        let taken = if *position == 0 { 1.0 } else { 0.0 };
        current = (current + taken - allowed).max(0.0);
        most = most.max(current);
    }
    most
}

fn count_of_first(picked: &[usize]) -> usize {
    picked.iter().filter(|position| **position == 0).count()
}

#[test]
fn a_pod_that_refuses_at_once_loses_the_traffic_within_ten_requests() {
    for status in [401, 403, 404, 408, 429] {
        for (endpoints, interval_ms) in [(2, 300), (4, 100), (4, 2_000)] {
            let answers = vec![Answer::Status(status, Delay::AtOnce)];
            let picked = Fleet::new(endpoints, interval_ms, answers).serve(60);
            let refused = count_of_first(&picked);
            assert!((5..=11).contains(&refused), "{status}, {endpoints} endpoints: {refused} of 60");
            assert!(count_of_first(&picked[picked.len() / 2..]) >= 1, "it is probed");
        }
    }
}

#[test]
fn a_pod_that_fails_at_once_gets_no_more_than_its_share() {
    let quick = [
        Answer::Status(400, Delay::AtOnce),
        Answer::Status(413, Delay::AtOnce),
        Answer::Status(503, Delay::AtOnce),
        Answer::ErrorEvent(Some(400), Delay::AtOnce),
        Answer::EmptyStream(Delay::AtOnce),
    ];
    for answer in quick {
        let picked = Fleet::new(4, 100, vec![answer]).serve(200);
        let share = count_of_first(&picked);
        assert!(share <= 60, "{answer:?}: {share} of 200");
    }
}

#[test]
fn a_pod_that_sends_its_first_output_at_once_is_not_believed_to_be_faster() {
    for told in [Told::Usage, Told::NoCachedTokens, Told::Nothing, Told::ManyTokens] {
        for interval_ms in [100, 1_000] {
            let picked = Fleet::new(4, interval_ms, vec![Answer::Output(Delay::AtOnce, told)]).serve(200);
            let share = count_of_first(&picked);
            assert!(share <= 100, "{told:?}: {share} of 200");
        }
    }
}

#[test]
fn a_pod_that_recovers_gets_its_share_back() {
    let mut answers = vec![Answer::Status(404, Delay::AtOnce); 7];
    answers.extend(vec![Answer::Output(Delay::Whole, Told::Usage); 400]);
    let picked = Fleet::new(4, 100, answers).serve(400);
    let share = count_of_first(&picked[200..]);
    assert!((30..=70).contains(&share), "{share} of 200");
}

fn delay() -> impl Strategy<Value = Delay> {
    prop_oneof![Just(Delay::AtOnce), Just(Delay::Half), Just(Delay::Whole), Just(Delay::Double)]
}

fn answer() -> impl Strategy<Value = Answer> {
    let statuses = [400, 401, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504];
    let status = (0..statuses.len()).prop_map(move |at| statuses[at]);
    let told = prop_oneof![
        Just(Told::Usage),
        Just(Told::NoCachedTokens),
        Just(Told::Nothing),
        Just(Told::ManyTokens)
    ];
    let code = proptest::option::of(status.clone());
    prop_oneof![
        3 => (delay(), told).prop_map(|(delay, told)| Answer::Output(delay, told)),
        2 => (status, delay()).prop_map(|(status, delay)| Answer::Status(status, delay)),
        1 => (code, delay()).prop_map(|(status, delay)| Answer::ErrorEvent(status, delay)),
        1 => delay().prop_map(Answer::EmptyStream),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn no_answers_give_one_of_equal_endpoints_twice_its_share_for_ten_requests(
        answers in vec(answer(), 1..12), repeats in 1_usize..20, endpoints in 3_usize..6, interval_ms in 80_u64..1_500,
    ) {
        let script = answers.iter().flat_map(|answer| std::iter::repeat_n(*answer, repeats)).collect();
        let picked = Fleet::new(endpoints, interval_ms * 4 / endpoints as u64, script).serve(300);
        prop_assert!(excess(&picked, endpoints) <= 10.0, "{}: {:?}", excess(&picked, endpoints), picked);
    }
}
