//! What collectors say: who is believed, what counts as a new life, and when values are stale.

use proptest::prelude::{prop_assert_eq, proptest};
use signalbox_state::{CollectorStream, Observed, Pool, PoolEffect, PoolInput, Report, ScrapeStatus, Update};
use signalbox_types::{Capacity, Gauges, Generation, Incarnation};

use crate::feedback::batch;
use crate::support::{config, endpoint, endpoint_spec, placement, pool_of, pool_spec};

const STREAM: CollectorStream = CollectorStream(1);
const STALE_AFTER_MS: u64 = 2_000;

/// A pool whose one endpoint is read by [`STREAM`], and the generation of that.
pub(crate) fn read_pool() -> (Pool, Generation) {
    let mut pool = pool_of(1, config());
    let effects = pool.fold(0, PoolInput::CollectorJoined(STREAM, "one".to_owned()));
    (pool, generation(&effects))
}

fn generation(effects: &[PoolEffect]) -> Generation {
    let assigned = effects.iter().find_map(|effect| match effect {
        PoolEffect::Assign(_, assigned) => assigned.first(),
        _ => None,
    });
    assigned.expect("the endpoint is assigned").generation
}

pub(crate) fn running(running: u32) -> Update {
    let gauges = Gauges { waiting: 0, running, kv_used_ppm: None };
    Update {
        incarnation: Incarnation(7),
        scrape_status: ScrapeStatus::Fresh,
        gauges: Some(gauges),
        ..Update::default()
    }
}

pub(crate) fn say(
    pool: &mut Pool,
    now_ms: u64,
    stream: CollectorStream,
    generation: Generation,
    update: Update,
) {
    let report = Report { endpoint: endpoint(0), generation, age_ms: 10, update };
    pool.fold(now_ms, PoolInput::Reports(stream, vec![report]));
}

fn observed(pool: &Pool) -> &Observed {
    &pool.pool_state().member(endpoint(0)).expect("it is a member").observed
}

fn place(pool: &mut Pool, life: Incarnation) {
    let number = pool.journal().head().seq + 1;
    let placed = placement(number, endpoint(0), life, &[0, 1, 2], 0);
    pool.fold(0, PoolInput::Feedback(batch(1, number, Vec::new(), vec![placed])));
}

fn held(pool: &Pool) -> usize {
    pool.pool_state().residents().held(endpoint(0))
}

proptest! {
    #[test]
    fn only_the_assigned_stream_under_the_assigned_generation_is_believed(stream in 0_u64..4, generation in 0_u64..8) {
        let (mut pool, first) = read_pool();
        let second = CollectorStream(2);
        pool.fold(0, PoolInput::CollectorLeft(STREAM));
        let current = self::generation(&pool.fold(0, PoolInput::CollectorJoined(second, "two".to_owned())));
        assert!(current > first);
        let before = pool.journal().head();
        say(&mut pool, 5, CollectorStream(stream), Generation(generation), running(3));
        let believed = CollectorStream(stream) == second && Generation(generation) == current;
        prop_assert_eq!(believed, pool.journal().head() != before);
    }
}

#[test]
fn an_accepted_report_says_all_of_what_it_says_and_leaves_the_rest() {
    let (mut pool, generation) = read_pool();
    let capacity = Some(Capacity { kv_tokens: 100 });
    say(&mut pool, 50, STREAM, generation, Update { capacity, ..running(3) });
    say(&mut pool, 90, STREAM, generation, running(4));
    let expected = Observed {
        incarnation: Incarnation(7),
        scrape_status: ScrapeStatus::Fresh,
        scrape_status_since_ms: 40,
        gauges: Gauges { waiting: 0, running: 4, kv_used_ppm: None },
        unbooked_requests: 0,
        capacity,
    };
    assert_eq!(&expected, observed(&pool));
}

#[test]
fn a_new_life_has_no_blocks_and_placements_for_the_old_one_are_dropped() {
    let (mut pool, generation) = read_pool();
    say(&mut pool, 50, STREAM, generation, running(1));
    place(&mut pool, Incarnation(7));
    assert_eq!(3, held(&pool));
    say(&mut pool, 90, STREAM, generation, Update { incarnation: Incarnation(8), ..running(0) });
    assert_eq!(0, held(&pool));
    place(&mut pool, Incarnation(7));
    assert_eq!(0, held(&pool));
    place(&mut pool, Incarnation(8));
    assert_eq!(3, held(&pool));
}

#[test]
fn the_first_word_of_a_life_is_no_new_life() {
    let (mut pool, generation) = read_pool();
    place(&mut pool, Incarnation(0));
    say(&mut pool, 50, STREAM, generation, running(1));
    assert_eq!(3, held(&pool));
}

/// A collector that takes a hung endpoint over knows nothing of it but that it is silent.
#[test]
fn a_report_that_does_not_know_the_life_ends_none() {
    let (mut pool, generation) = read_pool();
    say(&mut pool, 50, STREAM, generation, running(1));
    place(&mut pool, Incarnation(7));
    say(
        &mut pool,
        90,
        STREAM,
        generation,
        Update { scrape_status: ScrapeStatus::Stale, ..Update::default() },
    );
    assert_eq!(
        (3, Incarnation(7), ScrapeStatus::Stale),
        (held(&pool), observed(&pool).incarnation, observed(&pool).scrape_status)
    );
    say(&mut pool, 99, STREAM, generation, Update { incarnation: Incarnation(8), ..running(1) });
    assert_eq!(0, held(&pool));
}

#[test]
fn values_are_stale_when_their_collector_is_silent_and_fresh_when_it_reports() {
    let (mut pool, generation) = read_pool();
    say(&mut pool, 50, STREAM, generation, running(1));
    pool.fold(1_000, PoolInput::Reports(STREAM, Vec::new()));
    pool.fold(1_000 + STALE_AFTER_MS - 1, PoolInput::Tick);
    assert_eq!(ScrapeStatus::Fresh, observed(&pool).scrape_status);
    pool.fold(1_000 + STALE_AFTER_MS, PoolInput::Tick);
    assert_eq!((ScrapeStatus::Stale, 1), (observed(&pool).scrape_status, observed(&pool).gauges.running));
    say(&mut pool, 4_000, STREAM, generation, running(1));
    assert_eq!(ScrapeStatus::Fresh, observed(&pool).scrape_status);
}

#[test]
fn an_endpoint_that_nobody_has_read_for_long_is_stale() {
    let mut pool = pool_of(1, config());
    pool.fold(STALE_AFTER_MS - 1, PoolInput::Tick);
    assert_eq!(ScrapeStatus::Unknown, observed(&pool).scrape_status);
    pool.fold(STALE_AFTER_MS, PoolInput::Tick);
    assert_eq!(
        (ScrapeStatus::Stale, STALE_AFTER_MS),
        (observed(&pool).scrape_status, observed(&pool).scrape_status_since_ms)
    );
}

#[test]
fn values_outlive_a_short_absence_of_all_collectors() {
    let (mut pool, generation) = read_pool();
    say(&mut pool, 1_000, STREAM, generation, running(1));
    pool.fold(1_050, PoolInput::CollectorLeft(STREAM));
    pool.fold(1_000 + STALE_AFTER_MS - 1, PoolInput::Tick);
    assert_eq!(ScrapeStatus::Fresh, observed(&pool).scrape_status);
    pool.fold(1_000 + STALE_AFTER_MS, PoolInput::Tick);
    assert_eq!(ScrapeStatus::Stale, observed(&pool).scrape_status);
}

#[test]
fn an_endpoint_that_moved_begins_anew_and_readings_of_the_old_place_are_not_taken_for_it() {
    let (mut pool, old) = read_pool();
    say(&mut pool, 50, STREAM, old, running(5));
    let elsewhere = endpoint_spec(0, 1);
    let kept_page =
        signalbox_types::EndpointSpec { metrics_url: endpoint_spec(0, 0).metrics_url, ..elsewhere };
    let new = generation(&pool.fold(60, PoolInput::Spec(pool_spec([kept_page]))));
    say(&mut pool, 70, STREAM, old, running(5));
    assert_eq!(&Observed { scrape_status_since_ms: 60, ..Observed::default() }, observed(&pool));
    say(&mut pool, 80, STREAM, new, running(2));
    assert_eq!(2, observed(&pool).gauges.running);
}

#[test]
fn the_greatest_numbers_there_are_do_no_harm() {
    let (mut pool, generation) = read_pool();
    let gauges = Some(Gauges { waiting: u32::MAX, running: u32::MAX, kv_used_ppm: Some(u32::MAX) });
    let capacity = Some(Capacity { kv_tokens: u64::MAX });
    for now_ms in 0..4 {
        let update = Update { gauges, capacity, ..running(0) };
        let report = Report { endpoint: endpoint(0), generation, age_ms: u64::MAX, update };
        pool.fold(now_ms, PoolInput::Reports(STREAM, vec![report]));
    }
    pool.fold(60, PoolInput::Tick);
    pool.fold(120, PoolInput::Tick);
    assert_eq!(u32::MAX, observed(&pool).unbooked_requests);
}
