//! Tests of the scorers and their edge cases. The expected values are computed by hand from the formulas.

use signalbox_schedule::{Metric, Scorer, SessionAffinity, session_token};
use signalbox_state::ScrapeStatus;
use signalbox_types::Adapters;

use crate::test_pool::{Pod, TestPool, load};

fn assert_scores(expected: &[f64], scores: &[f64]) {
    let near = expected.iter().zip(scores).all(|(one, other)| (one - other).abs() < 1e-12);
    assert!(near && expected.len() == scores.len(), "expected {expected:?}, found {scores:?}");
}

fn scores(pods: &[Pod], scorer: Scorer) -> Vec<f64> {
    TestPool::new(pods, 10).scores(scorer)
}

fn waiting(waiting: u32) -> Pod {
    Pod { waiting, ..Pod::default() }
}

fn unscraped() -> Pod {
    Pod { scrape_status: ScrapeStatus::Unknown, kv_used_ppm: None, ..Pod::default() }
}

#[test]
fn queue_scorer_ranks_by_waiting_requests() {
    let queue = || Scorer::Least(Metric::WaitingQueue);
    // (10 − q) ÷ (10 − 2)
    assert_scores(&[1.0, 0.0, 0.5], &scores(&[waiting(2), waiting(10), waiting(6)], queue()));
    assert_scores(&[1.0, 1.0], &scores(&[waiting(7), waiting(7)], queue()));
    assert_scores(&[1.0], &scores(&[waiting(7)], queue()));
    assert_scores(&[1.0, 1.0], &scores(&[waiting(0), waiting(0)], queue()));
    // A missing value gets the worst score; it does not count as idle.
    assert_scores(&[1.0, 0.0, 0.0], &scores(&[waiting(2), waiting(10), unscraped()], queue()));
    assert_scores(&[1.0, 1.0], &scores(&[unscraped(), unscraped()], queue()));
}

#[test]
fn running_requests_scorer_ranks_by_running_requests() {
    let running = |running| Pod { running: Some(running), ..Pod::default() };
    let scorer = || Scorer::Least(Metric::RunningRequests);
    assert_scores(&[0.75, 1.0, 0.0], &scores(&[running(25), running(0), running(100)], scorer()));
    assert_scores(&[1.0, 1.0], &scores(&[running(3), running(3)], scorer()));
    // An engine that does not report running requests scores as the busiest one that does.
    let unknown = Pod { running: None, ..Pod::default() };
    assert_scores(&[0.0, 1.0, 0.0], &scores(&[unknown, running(0), running(9)], scorer()));
}

#[test]
fn kv_cache_scorer_scores_the_free_share() {
    let used = |ppm| Pod { kv_used_ppm: ppm, ..Pod::default() };
    let pods = [used(Some(0)), used(Some(250_000)), used(Some(1_000_000))];
    assert_scores(&[1.0, 0.75, 0.0], &scores(&pods, Scorer::KvCacheFree));
    // An engine that does not report its use gets the score of the fullest one.
    let pods = [used(Some(250_000)), used(None), used(Some(600_000))];
    assert_scores(&[0.75, 0.4, 0.4], &scores(&pods, Scorer::KvCacheFree));
    assert_scores(&[0.0, 0.0], &scores(&[used(None), used(None)], Scorer::KvCacheFree));
}

#[test]
fn load_aware_scorer_decreases_up_to_its_threshold() {
    let scorer = || Scorer::LoadAware { threshold: 128.0 };
    // ½ · (1 − min(q, 128) ÷ 128)
    let pods = [waiting(0), waiting(32), waiting(128), waiting(500)];
    assert_scores(&[0.5, 0.375, 0.0, 0.0], &scores(&pods, scorer()));
    assert_scores(&[0.375, 0.375], &scores(&[waiting(32), unscraped()], scorer()));
}

fn holding(held_blocks: usize) -> Pod {
    Pod { held_blocks, ..Pod::default() }
}

#[test]
fn prefix_cache_scorer_combines_share_and_length() {
    let scorer = |length_weight| Scorer::PrefixCache { length_weight, scale_tokens: 1_280.0 };
    let pods = [holding(0), holding(5), holding(10)];
    assert_scores(&[0.0, 0.5, 1.0], &TestPool::new(&pods, 10).scores(scorer(0.0)));
    // 10 blocks = 640 tokens of 1,280: L = ¼; ½ · ¼ + ½ · 1. 5 blocks: L = 1/16; 1/32 + ½ · ½.
    assert_scores(&[0.0, 0.28125, 0.625], &TestPool::new(&pods, 10).scores(scorer(0.5)));
    // 40 blocks = 2,560 tokens: L is clamped to 1.
    assert_scores(&[1.0], &TestPool::new(&[holding(40)], 80).scores(scorer(1.0)));
    // A prompt without blocks.
    assert_scores(&[0.0, 0.0], &TestPool::new(&[holding(0), holding(0)], 0).scores(scorer(0.5)));
}

#[test]
fn lora_affinity_scorer_prefers_running_then_free_then_waiting() {
    let names = |text: &str| text.split_whitespace().map(Into::into).collect();
    let with = |slots, running, waiting| {
        let (running, waiting) = (names(running), names(waiting));
        let adapters = Adapters { slots, running, waiting, loaded: None };
        Pod { adapters: Some(adapters), ..Pod::default() }
    };
    let pods = [
        with(2, "a m", ""),
        with(2, "a", ""),
        with(2, "a", "m"),
        with(2, "a b", "m"),
        with(2, "a b", "c"),
        with(3, "a b", "m"),
        with(3, "a b", "a b"),
        Pod::default(),
    ];
    // The third pod has as many running and waiting adapters as slots: none is free, but requests wait for
    // the adapter. The seventh reports two adapters in both lists.
    assert_scores(&[1.0, 0.8, 0.6, 0.6, 0.0, 0.6, 0.8, 0.0], &scores(&pods, Scorer::LoraAffinity));
}

#[test]
fn active_requests_scorer_counts_all_replicas() {
    let in_flight = |own, others| Pod { own: load(own, 0), others: load(others, 0), ..Pod::default() };
    let pods = [in_flight(0, 0), in_flight(1, 1), in_flight(0, 5), in_flight(4, 4)];
    let scorer = |idle, max_busy| Scorer::ActiveRequests { idle, max_busy };
    // Requests of all replicas: 0, 2, 5, 8; (8 − c) ÷ 8.
    assert_scores(&[1.0, 0.75, 0.375, 0.0], &scores(&pods, scorer(0.0, 1.0)));
    assert_scores(&[1.0, 1.0, 0.1875, 0.0], &scores(&pods, scorer(2.0, 0.5)));
    assert_scores(&[0.0, 0.0], &scores(&[in_flight(3, 0), in_flight(0, 3)], scorer(0.0, 1.0)));
    assert_scores(&[1.0], &scores(&[in_flight(0, 0)], scorer(0.0, 1.0)));
}

#[test]
fn token_load_scorer_adds_the_unmatched_prompt() {
    let scorer = || Scorer::TokenLoad { threshold_tokens: 4_000.0 };
    let with = |own, others, held_blocks| Pod {
        own: load(1, own),
        others: load(1, others),
        held_blocks,
        ..Pod::default()
    };
    // Of the 640 prompt tokens, 0, 320 and 640 are held.
    let pods = [with(1_000, 360, 0), with(1_000, 680, 5), with(0, 0, 10), with(9_000, 0, 0)];
    assert_scores(&[0.5, 0.5, 1.0, 0.0], &scores(&pods, scorer()));
}

#[test]
fn session_scorer_prefers_the_endpoint_in_the_token() {
    let mut pool = TestPool::new(&[Pod::default(), Pod::default(), Pod::default()], 1);
    let token = || Scorer::Session(SessionAffinity::Token { header: "x-session-token".to_owned() });
    assert_scores(&[0.0, 0.0, 0.0], &pool.scores(token()));
    for (value, expected) in [
        (session_token("pod-1"), [0.0, 1.0, 0.0]),
        // A token of the Go EPP: base64 of default/pod-2.
        ("ZGVmYXVsdC9wb2QtMg==".to_owned(), [0.0, 0.0, 1.0]),
        (session_token("pod-9"), [0.0, 0.0, 0.0]),
        ("%".to_owned(), [0.0, 0.0, 0.0]),
    ] {
        pool.request.headers = vec![("x-session-token".to_owned(), value)];
        assert_scores(&expected, &pool.scores(token()));
    }
}

#[test]
fn sessions_by_id_stay_when_pods_are_added_and_spread_evenly() {
    let id = || Scorer::Session(SessionAffinity::Id { headers: vec!["a".to_owned(), "b".to_owned()] });
    let bound = |pods: usize, session: usize| {
        let mut pool = TestPool::new(&vec![Pod::default(); pods], 1);
        pool.request.headers = vec![("b".to_owned(), format!("session {session}"))];
        let scores = pool.scores(id());
        assert_eq!(1.0, scores.iter().sum::<f64>());
        scores.iter().position(|score| *score == 1.0).unwrap()
    };
    let mut counts = [0; 4];
    for session in 0..200 {
        let (four, five) = (bound(4, session), bound(5, session));
        assert!(five == four || five == 4, "a session can only move to the new pod");
        counts[four] += 1;
    }
    assert!(counts.iter().all(|count| (25..75).contains(count)), "{counts:?}");
}

#[test]
fn no_hit_lru_scorer_ranks_by_last_cold_placement() {
    let cold = |cold_placement_seq| Pod { cold_placement_seq, ..Pod::default() };
    // Pods without a cold placement come first: 1 − 0 ÷ 4 and 1 − 1 ÷ 4. The others follow, the longest ago
    // first.
    let pods = [cold(70), cold(0), cold(50), cold(0), cold(90)];
    assert_scores(&[0.25, 1.0, 0.5, 0.75, 0.0], &scores(&pods, Scorer::NoHitLru));
    assert_scores(&[1.0], &scores(&[cold(7)], Scorer::NoHitLru));
    assert_scores(&[1.0, 0.0], &scores(&[cold(0), cold(0)], Scorer::NoHitLru));
    let hit = Pod { held_blocks: 1, ..Pod::default() };
    assert_scores(&[0.5, 0.5], &scores(&[cold(0), hit], Scorer::NoHitLru));
}
