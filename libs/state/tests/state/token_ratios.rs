//! How many tokens models make of prompts and answers is learned from usage, and all replicas know it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use signalbox_state::{
    Bookings, Change, Feedback, JournaledReplica, Pool, PoolConfig, PoolInput, StateReplica, UsageReport,
    View,
};
use signalbox_types::{BlockHash, Incarnation, ModelKey, PromptSize, Request, TokenRatio};

use crate::feedback::partial_batch;
use crate::fixtures::state_contents::Contents;
use crate::fixtures::{catch_up, config, endpoint, pool_of};

/// Usage of a prompt of text at endpoint 0 that the engine counts as `prompt_tokens`.
pub(crate) fn usage(model: &str, text_bytes: u64, prompt_tokens: u64) -> UsageReport {
    UsageReport {
        endpoint: endpoint(0),
        incarnation: Incarnation::default(),
        model: ModelKey::of(model),
        text_bytes,
        token_ids: 0,
        media_tokens: 0,
        predicted_tokens: text_bytes / 4,
        predicted_cached_tokens: 0,
        prompt_tokens: Some(prompt_tokens),
        cached_tokens: None,
        output_tokens: None,
        last_block: BlockHash::ROOT,
        held_blocks: 0,
        cached_blocks: None,
        sole_prefill_us: None,
    }
}

fn report(pool: &mut Pool, usage: Vec<UsageReport>) {
    let batch = partial_batch(7, next_batch(), Vec::new(), Vec::new());
    pool.handle(0, PoolInput::Feedback(Feedback { usage, ..batch }));
}

/// Numbers the batches of all pools.
fn next_batch() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn ratio(pool: &Pool, model: &str) -> TokenRatio {
    pool.pool_state().token_ratios().get(&ModelKey::of(model)).copied().unwrap_or_default()
}

fn is_near(expected: u32, found: u32) -> bool {
    found.abs_diff(expected) * 100 <= expected * 5
}

#[test]
fn bytes_per_token_are_learned_per_model_and_used_by_replicas() {
    let mut pool = pool_of(1, config());
    for at in 0..60 {
        let bytes = 2_000 + at * 137 % 9_000;
        report(&mut pool, vec![usage("dense", bytes, bytes * 10 / 15), usage("usual", bytes, bytes / 4)]);
    }
    assert!(is_near(1_500, ratio(&pool, "dense").bytes_per_token_milli), "{:?}", ratio(&pool, "dense"));
    assert_eq!(TokenRatio::default(), ratio(&pool, "usual"));

    let mut replica = StateReplica::default();
    catch_up(&mut replica, &pool);
    let view = View::next(&View::default(), &replica, &Bookings::new(Arc::new(|| {})));
    let tokens = |model: &str| {
        let prompt = PromptSize { text_bytes: 6_000, ..PromptSize::default() };
        let mut request = Request { model: model.to_owned(), prompt, ..Request::default() };
        view.apply_token_ratio(&mut request);
        request.prompt_tokens as u32
    };
    assert!(is_near(4_000, tokens("dense")) && tokens("usual") == 1_500 && tokens("other") == 1_500);
    let served = view.served_models();
    assert_eq!([true, false], ["dense", "other"].map(|model| served.contains(model)));
}

#[test]
fn weight_of_media_is_learned_from_prompts_that_are_mostly_media() {
    let mut pool = pool_of(1, config());
    for _ in 0..60 {
        let image = UsageReport { media_tokens: 1_024, ..usage("vision", 400, 100 + 256) };
        report(&mut pool, vec![image]);
    }
    let found = ratio(&pool, "vision");
    assert!((24..=27).contains(&found.media_percent), "{found:?}");
    assert_eq!(4_000, found.bytes_per_token_milli);
}

/// Otherwise requests are charged for output that nobody gets.
#[test]
fn output_tokens_are_learned_per_model_and_expected_by_replicas() {
    let mut pool = pool_of(1, config());
    for at in 0..400 {
        let answer = |model, output_tokens| UsageReport {
            prompt_tokens: None,
            output_tokens: Some(output_tokens),
            ..usage(model, 0, 0)
        };
        // As varied as answers are: half of them have a tenth of the mean.
        let brief = if at % 2 == 0 { 12 } else { 228 };
        report(&mut pool, vec![answer("brief", brief), answer("classifier", 1)]);
    }
    let found = ["brief", "classifier"].map(|model| ratio(&pool, model).output_tokens);
    assert!((105..=135).contains(&found[0]) && found[1] <= 16, "{found:?}");

    let mut replica = StateReplica::default();
    catch_up(&mut replica, &pool);
    let view = View::next(&View::default(), &replica, &Bookings::new(Arc::new(|| {})));
    let expected = |model: &str, max_output_tokens| {
        let mut request = Request { model: model.to_owned(), max_output_tokens, ..Request::default() };
        view.apply_token_ratio(&mut request);
        request.expected_output_tokens()
    };
    assert_eq!(u64::from(found[0]), expected("brief", None));
    assert_eq!([16, 256], [expected("brief", Some(16)), expected("unheard of", Some(4_000))]);
}

/// One client with a long answer does not change what all are charged.
#[test]
fn one_answer_changes_the_mean_by_less_than_half_however_long_it_is() {
    let mut pool = pool_of(1, config());
    report(&mut pool, vec![UsageReport { output_tokens: Some(u64::MAX), ..usage("m", 0, 0) }]);
    let first = ratio(&pool, "m").output_tokens;
    assert!((257..384).contains(&first), "{first}");
}

#[test]
fn one_prompt_counts_at_most_half_however_long_it_is() {
    let mut pool = pool_of(1, config());
    report(&mut pool, vec![usage("m", 1 << 30, 1 << 30)]);
    let found = ratio(&pool, "m").bytes_per_token_milli;
    assert!((2_600..4_000).contains(&found), "{found}");
}

#[test]
fn outliers_move_the_ratio_little() {
    let mut pool = pool_of(1, config());
    for at in 0..200 {
        let tokens = if at % 10 == 3 { 1_000_000 } else { 1_000 };
        report(&mut pool, vec![usage("m", 4_000, tokens)]);
    }
    let found = ratio(&pool, "m").bytes_per_token_milli;
    assert!((3_400..=4_000).contains(&found), "{found}");
}

#[test]
fn ratio_is_published_only_when_it_moves_by_more_than_three_percent() {
    let mut pool = pool_of(1, config());
    let changes = |pool: &Pool| pool.journal().head().seq;
    let before = changes(&pool);
    for at in 0..2_000_u64 {
        report(&mut pool, vec![usage("m", 4_000, 1_980 + at % 40)]);
    }
    let published = changes(&pool) - before;
    assert!((5..=40).contains(&published), "{published}");
    assert!(is_near(2_000, ratio(&pool, "m").bytes_per_token_milli));
}

#[test]
fn least_recently_used_of_too_many_models_is_forgotten() {
    let mut pool = pool_of(1, config());
    let model = |number: usize| format!("model-{number}");
    for number in 0..1_024 {
        report(&mut pool, vec![usage(&model(number), 20_000, 10_000)]);
    }
    report(&mut pool, vec![usage(&model(0), 20_000, 10_000), usage(&model(1_024), 20_000, 10_000)]);
    assert_eq!(1_024, pool.pool_state().token_ratios().len());
    assert!(ratio(&pool, &model(1)).is_default() && !ratio(&pool, &model(0)).is_default());
}

#[test]
fn prompts_without_usage_or_with_little_text_teach_nothing() {
    let mut pool = pool_of(1, config());
    let head = pool.journal().head().seq;
    for _ in 0..100 {
        let silent = UsageReport { prompt_tokens: None, ..usage("m", 4_000, 0) };
        report(&mut pool, vec![silent, usage("m", 500, 5_000), usage("m", 4_000, 0)]);
    }
    assert_eq!(head, pool.journal().head().seq);
}

#[test]
fn capacity_in_blocks_follows_the_bytes_per_token() {
    // 120 tokens of 4 bytes fit 120 blocks of 4 bytes; at 2 bytes per token, half as many.
    let config = PoolConfig { assumed_kv_tokens: 120, ..config() };
    for (tokens_per_kb, room) in [(250, 120), (500, 60)] {
        let mut pool = pool_of(1, config);
        for _ in 0..200 {
            report(&mut pool, vec![usage("m", 16_000, 16 * tokens_per_kb)]);
        }
        let suffix = (1..=150).map(BlockHash).collect();
        let placed = signalbox_state::Placement {
            number: 1,
            endpoint: endpoint(0),
            incarnation: Incarnation::default(),
            anchor: BlockHash::ROOT,
            suffix,
        };
        pool.handle(0, PoolInput::Feedback(partial_batch(1, 1, Vec::new(), vec![placed])));
        let held = pool.pool_state().index_writer().placed_blocks(endpoint(0));
        assert!(held.abs_diff(room) <= room / 20, "{held} of {room}");
    }
}

proptest! {
    #[test]
    fn ratios_are_valid_and_equal_at_owner_follower_and_next_owner(
        reports in vec((0_u8..4, any::<[u64; 5]>(), 0_u32..64), 0..60),
    ) {
        let mut pool = pool_of(1, config());
        let mut follower = StateReplica::default();
        catch_up(&mut follower, &pool);
        for (model, numbers, shift) in reports {
            let [text_bytes, token_ids, media_tokens, prompt_tokens, output_tokens] =
                numbers.map(|number| number >> shift);
            let usage = usage(&model.to_string(), text_bytes, prompt_tokens);
            let output_tokens = Some(output_tokens);
            report(&mut pool, vec![UsageReport { token_ids, media_tokens, output_tokens, ..usage }]);
        }
        prop_assert!(pool.pool_state().token_ratios().values().all(TokenRatio::is_valid));
        catch_up(&mut follower, &pool);
        let mut latecomer = StateReplica::default();
        prop_assert!(catch_up(&mut latecomer, &pool));
        let contents = Contents::of(pool.pool_state());
        prop_assert_eq!(&contents, &Contents::of(follower.pool_state()));
        prop_assert_eq!(&contents, &Contents::of(latecomer.pool_state()));
        let standby: JournaledReplica = pool.into_replica();
        let next = Pool::inherit(2, config(), standby, 0);
        prop_assert_eq!(&contents, &Contents::of(next.pool_state()));
    }
}

#[test]
fn default_ratio_removes_an_entry() {
    let mut pool_state = signalbox_state::PoolState::default();
    let empty = pool_state.digest();
    let model = ModelKey::of("m");
    for ratio in [
        TokenRatio { bytes_per_token_milli: 2_000, media_percent: 50, output_tokens: 9 },
        TokenRatio::default(),
    ] {
        pool_state.apply(1, &Change::TokenRatioLearned { model, ratio }).unwrap();
    }
    assert!(pool_state.token_ratios().is_empty());
    assert_eq!(empty, pool_state.digest());
}
