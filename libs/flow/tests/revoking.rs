//! What holds of the requests that are revoked for others.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
use signalbox_flow::{
    Backlog, Ceilings, FlowKey, FlowSettings, Granter, PeerRevocable, Revocable, RevocableClass, Saturation,
    Shortage, Usage, revoke,
};
use signalbox_types::Origin;

const NOW_MS: u64 = 100_000;

type Part = (Origin, RevocableClass, PeerRevocable);

/// A full pool of `endpoints` endpoints with room for 1,000 tokens each.
fn full(endpoints: u32) -> Saturation {
    let count = f64::from(endpoints);
    Saturation {
        value: 1.0,
        by_prompts: 1.0,
        per_request: 0.0,
        per_token: 1.0 / (1_000.0 * count),
        per_request_limit: 1.0 / count,
    }
}

fn part() -> impl Strategy<Value = ((u64, i32, bool), PeerRevocable)> {
    let numbers = (0..8_u64, 1..3_000_u64, 0..5_000_u64, 0..5_000_u64, 0..9_u64, 0..4_u64);
    let of = |(requests, each, newest_age_ms, span_ms, revoked, ordered)| {
        let oldest_age_ms = newest_age_ms + span_ms;
        let report = Revocable { requests, tokens: requests * each, newest_age_ms, oldest_age_ms, revoked };
        let known = PeerRevocable { ordered: revoked + ordered, ..PeerRevocable::default() };
        known.after(NOW_MS, report)
    };
    ((0..4_u64, -4..2_i32, any::<bool>()), numbers.prop_map(of))
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    let to_part = |((origin, priority, is_processed), part)| {
        (Origin(origin), RevocableClass { priority, is_processed }, part)
    };
    vec(part(), 0..14).prop_map(move |parts| BTreeMap::from_iter(parts).into_iter().map(to_part).collect())
}

/// Returns when the request is taken to be sent that is revoked after `count` newer ones.
fn sent_ms(part: &PeerRevocable, count: u64) -> u64 {
    let span_ms = part.newest_ms - part.oldest_ms;
    part.newest_ms - span_ms * count / part.requests.saturating_sub(1).max(1)
}

proptest! {
    #[test]
    fn least_important_and_newest_are_revoked_and_no_more_than_needed(
        before in parts(),
        priority in -3..3_i32,
        excess_milli in 0..2_000_u32,
        is_of_prompts in any::<bool>(),
        endpoints in 1..5_u32,
    ) {
        let shortage = Shortage { priority, excess: f64::from(excess_milli) / 1e3, is_of_prompts };
        let saturation = full(endpoints);
        let revocations = revoke(&shortage, &saturation, before.iter().copied());
        let mut after = before.clone();
        for revocation in &revocations {
            let at = |(origin, class, _): &&mut Part| (*origin, *class) == (revocation.origin, revocation.class);
            let (_, _, part) = after.iter_mut().find(at).expect("only known requests are revoked");
            prop_assert!(revocation.up_to > part.ordered);
            part.ordered = revocation.up_to;
            prop_assert!(part.ordered - part.revoked <= part.requests);
        }
        let helps = |class: &RevocableClass| {
            class.priority < 0 && class.priority < priority && !(is_of_prompts && class.is_processed)
        };
        let helping: Vec<_> = before.iter().zip(&after).filter(|((_, class, _), _)| helps(class)).collect();
        let each = |part: &PeerRevocable| saturation.added_by(part.tokens.div_ceil(part.requests.max(1)));
        let freed: f64 = helping.iter().map(|(_, (_, _, part))| part.outstanding() as f64 * each(part)).sum();
        let is_changed = |(before, after): &(&Part, &Part)| before != after;
        let (changed, others): (Vec<_>, Vec<_>) = helping.iter().copied().partition(is_changed);
        prop_assert_eq!(revocations.len(), changed.len(), "others are revoked than help");
        if let Some(most) = changed.iter().map(|(_, (_, _, part))| each(part)).reduce(f64::max) {
            prop_assert!(freed - most <= shortage.excess + 1e-9, "more than needed: {freed}");
        }
        let is_left = |part: &PeerRevocable| part.outstanding() < part.requests;
        if freed <= shortage.excess - 1e-9 {
            prop_assert!(!helping.iter().any(|(_, (_, _, part))| is_left(part)), "less than needed: {freed}");
        }
        for (_, (_, class, part)) in &changed {
            let last_ms = sent_ms(part, part.outstanding() - 1);
            for (_, (_, other_class, other)) in changed.iter().chain(&others).filter(|(_, of)| is_left(&of.2)) {
                prop_assert!(other_class.priority >= class.priority, "a lower one stays");
                let is_newer = sent_ms(other, other.outstanding()) > last_ms;
                prop_assert!(other_class.priority > class.priority || !is_newer, "a newer one stays");
            }
        }
        prop_assert!(revoke(&shortage, &saturation, after).is_empty(), "what is ordered counts as gone");
    }
}

/// Returns a granter at which requests of 500 tokens each wait, so many of each priority.
fn waiting(requests: &[(i32, u64)]) -> Granter {
    let mut granter = Granter::default();
    for (priority, requests) in requests {
        let usage = Usage { requests: *requests, bytes: 0, tokens: requests * 500 };
        let backlog = Backlog { usage, oldest_wait_ms: 10, released: 0 };
        granter.report(NOW_MS, Origin(1), &FlowKey::new(*priority, "a"), backlog);
    }
    granter
}

#[test]
fn shortage_is_that_of_the_requests_that_go_next() {
    let (settings, saturation) = (FlowSettings::default(), full(4));
    let shortage = |requests: &[(i32, u64)], saturation| waiting(requests).shortage(&settings, &saturation);
    assert_eq!(None, shortage(&[], saturation), "nothing waits");
    assert_eq!(None, shortage(&[(5, 1)], Saturation { value: 0.9, ..saturation }), "there is room");
    let one = Shortage { priority: 5, excess: 0.0, is_of_prompts: true };
    assert_eq!(Some(one), shortage(&[(5, 1), (0, 9)], saturation));
    // Two requests of 500 tokens each go before the last one, of 4,000.
    assert_eq!(Some(Shortage { excess: 0.25, ..one }), shortage(&[(5, 3)], saturation));
    assert_eq!(Some(Shortage { excess: 1.0, ..one }), shortage(&[(5, 99)], saturation));
    let without_prompts = Saturation { by_prompts: 0.9, ..saturation };
    assert_eq!(Some(Shortage { is_of_prompts: false, ..one }), shortage(&[(5, 1)], without_prompts));
}

#[test]
fn shortage_is_measured_from_the_ceiling_of_the_band() {
    let settings = FlowSettings {
        ceilings: Ceilings::HoldbackByRank { lowest: 0.5, highest: 1.0 },
        ..FlowSettings::default()
    };
    let shortage = waiting(&[(0, 1), (5, 0)]).shortage(&settings, &Saturation { value: 0.75, ..full(4) });
    assert_eq!(Some(Shortage { priority: 0, excess: 0.25, is_of_prompts: true }), shortage);
}

#[test]
fn granted_requests_that_have_not_gone_take_room() {
    let (settings, mut granter) = (FlowSettings::default(), waiting(&[(5, 2)]));
    let saturation = Saturation { value: 0.95, by_prompts: 0.95, ..full(4) };
    assert_eq!(1, granter.grant(&settings, &saturation, NOW_MS).len());
    let shortage = granter.shortage(&settings, &saturation).expect("the second one waits");
    assert!((shortage.excess - 0.075).abs() < 1e-9, "{shortage:?}");
}
