use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;

fn class(priority: i32, is_processed: bool) -> RevocableClass {
    RevocableClass { priority, is_processed }
}

fn changed<W>(requests: &mut RevocableRequests<W>, now_ms: u64) -> Vec<(RevocableClass, Revocable)> {
    requests.report(now_ms, GaugeScope::Changed)
}

#[test]
fn newest_is_revoked_and_counts_until_its_booking_is_released() {
    let mut requests = RevocableRequests::default();
    let tickets: Vec<_> = (0..3).map(|at| requests.insert(100 * at, -1, 10 + at, at)).collect();
    let low = class(-1, false);
    let revocable = |requests, tokens, ages: [u64; 2], revoked| Revocable {
        requests,
        tokens,
        newest_age_ms: ages[0],
        oldest_age_ms: ages[1],
        revoked,
    };
    assert_eq!(vec![(low, revocable(3, 33, [100, 300], 0))], changed(&mut requests, 300));
    assert!(changed(&mut requests, 301).is_empty());
    assert_eq!(vec![2], requests.follow(Some(0), [(low, 1)]));
    assert!(requests.follow(Some(0), [(low, 1)]).is_empty(), "an order is followed once");
    assert!(changed(&mut requests, 310).is_empty(), "it is leaving");
    assert!(requests.remove(tickets[2]) && !requests.remove(tickets[2]));
    assert_eq!(vec![(low, revocable(2, 21, [300, 400], 1))], changed(&mut requests, 400));
    assert_eq!(vec![1, 0], requests.follow(Some(0), [(low, 9)]));
    assert!(tickets[..2].iter().all(|ticket| requests.remove(*ticket)));
    assert_eq!(vec![(low, revocable(0, 0, [0, 0], 9))], changed(&mut requests, 500));
    assert!(requests.report(500, GaugeScope::All).is_empty());
}

#[test]
fn order_lapses_if_nothing_more_important_waits() {
    let mut requests = RevocableRequests::default();
    requests.insert(0, -1, 10, ());
    for (highest_waiting, up_to) in [(None, 1), (Some(-1), 2), (Some(-5), 3)] {
        assert!(requests.follow(highest_waiting, [(class(-1, false), up_to)]).is_empty());
        assert_eq!(up_to, changed(&mut requests, 0)[0].1.revoked);
    }
    assert_eq!(1, requests.follow(Some(0), [(class(-1, false), 4)]).len());
}

#[test]
fn request_whose_prompt_is_processed_changes_its_class() {
    let mut requests = RevocableRequests::default();
    let mut ticket = requests.insert(0, -1, 10, ());
    requests.record_processed(&mut ticket);
    assert!(requests.follow(Some(0), [(class(-1, false), 1)]).is_empty());
    assert_eq!(1, requests.follow(Some(0), [(class(-1, true), 1)]).len());
    requests.record_processed(&mut ticket);
    assert!(requests.remove(ticket));
}

#[derive(Clone, Debug)]
enum Step {
    Insert(i32, u64),
    Process(usize),
    Remove(usize),
    Follow(i32, bool, u64),
    Report,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (-2..0_i32, 1..90_u64).prop_map(|(priority, tokens)| Step::Insert(priority, tokens)),
        any::<usize>().prop_map(Step::Process),
        any::<usize>().prop_map(Step::Remove),
        (-2..0_i32, any::<bool>(), 0..9_u64).prop_map(|(priority, is_processed, up_to)| Step::Follow(
            priority,
            is_processed,
            up_to
        )),
        proptest::prelude::Just(Step::Report),
    ]
}

proptest! {
    /// Never more are revoked than ordered, none twice, and none that has left. Reports add up.
    #[test]
    fn never_more_are_revoked_than_ordered(steps in vec(step(), 1..60)) {
        let mut requests = RevocableRequests::default();
        let mut open: Vec<(usize, u64, RevocableTicket)> = Vec::new();
        let (mut inserted, mut ordered, mut revoked) = (0, BTreeMap::new(), Vec::new());
        for step in steps {
            match step {
                Step::Insert(priority, tokens) => {
                    open.push((inserted, tokens, requests.insert(0, priority, tokens, inserted)));
                    inserted += 1;
                }
                Step::Process(at) if !open.is_empty() => {
                    let at = at % open.len();
                    requests.record_processed(&mut open[at].2);
                }
                Step::Remove(at) if !open.is_empty() => {
                    let (_, _, ticket) = open.remove(at % open.len());
                    prop_assert!(requests.remove(ticket));
                }
                Step::Follow(priority, is_processed, up_to) => {
                    let key = class(priority, is_processed);
                    let most = ordered.entry(key).or_insert(0);
                    *most = up_to.max(*most);
                    revoked.extend(requests.follow(Some(0), [(key, up_to)]));
                    prop_assert!(revoked.len() as u64 <= ordered.values().sum());
                }
                Step::Process(_) | Step::Remove(_) | Step::Report => {}
            }
            prop_assert!(revoked.len() <= inserted);
            let report = requests.report(0, GaugeScope::All);
            let tokens: u64 = report.iter().map(|(_, of)| of.tokens).sum();
            let count: u64 = report.iter().map(|(_, of)| of.requests).sum();
            prop_assert_eq!((open.len() as u64, open.iter().map(|of| of.1).sum::<u64>()), (count, tokens));
            for (key, of) in report {
                prop_assert!(of.revoked <= ordered.get(&key).copied().unwrap_or(0));
            }
        }
        revoked.sort_unstable();
        let count = revoked.len();
        revoked.dedup();
        prop_assert_eq!(count, revoked.len(), "one was revoked twice");
    }
}
