//! Reports: which are accepted, what counts as a restart, and when values become stale.

use proptest::prelude::{prop_assert_eq, proptest};
use signalbox_state::{CollectorStream, Observed, Pool, PoolEffect, PoolInput, Report, ScrapeStatus, Update};
use signalbox_types::{Capacity, Gauges, Generation, Incarnation};

use crate::feedback::full_batch;
use crate::fixtures::{config, endpoint, endpoint_spec, placement, pool_of, pool_spec};

const STREAM: CollectorStream = CollectorStream(1);
const STALE_AFTER_MS: u64 = 2_000;

/// Returns a pool whose only endpoint is assigned to [`STREAM`], and the generation of the assignment.
pub(crate) fn assigned_pool() -> (Pool, Generation) {
    let mut pool = pool_of(1, config());
    let effects = pool.handle(0, PoolInput::CollectorJoined(STREAM, "one".to_owned()));
    (pool, generation(&effects))
}

pub(crate) fn generation(effects: &[PoolEffect]) -> Generation {
    let assigned = effects.iter().find_map(|effect| match effect {
        PoolEffect::Assign(_, assigned) => assigned.first(),
        _ => None,
    });
    assigned.expect("the endpoint is assigned").generation
}

pub(crate) fn running(running: u32) -> Update {
    let gauges = Gauges { waiting: 0, running: Some(running), kv_used_ppm: None };
    Update {
        incarnation: Incarnation(7),
        scrape_status: ScrapeStatus::Fresh,
        gauges: Some(gauges),
        ..Update::default()
    }
}

pub(crate) fn report(
    pool: &mut Pool,
    now_ms: u64,
    stream: CollectorStream,
    generation: Generation,
    update: Update,
) {
    let report = Report { endpoint: endpoint(0), generation, age_ms: 10, update };
    pool.handle(now_ms, PoolInput::Reports(stream, vec![report]));
}

fn observed(pool: &Pool) -> &Observed {
    &pool.pool_state().endpoint(endpoint(0)).expect("the endpoint exists").observed
}

fn place(pool: &mut Pool, incarnation: Incarnation) {
    let number = pool.journal().head().seq + 1;
    let placed = placement(number, endpoint(0), incarnation, &[0, 1, 2], 0);
    pool.handle(0, PoolInput::Feedback(full_batch(1, number, Vec::new(), vec![placed])));
}

fn held(pool: &Pool) -> usize {
    pool.pool_state().index_writer().placed_blocks(endpoint(0))
}

proptest! {
    #[test]
    fn only_reports_of_the_current_assignment_are_accepted(stream in 0_u64..4, generation in 0_u64..8) {
        let (mut pool, first) = assigned_pool();
        let second = CollectorStream(2);
        pool.handle(0, PoolInput::CollectorLeft(STREAM));
        let current = self::generation(&pool.handle(0, PoolInput::CollectorJoined(second, "two".to_owned())));
        assert!(current > first);
        let before = pool.journal().head();
        report(&mut pool, 5, CollectorStream(stream), Generation(generation), running(3));
        let accepted = CollectorStream(stream) == second && Generation(generation) == current;
        prop_assert_eq!(accepted, pool.journal().head() != before);
    }
}

#[test]
fn report_updates_its_parts_and_leaves_the_rest() {
    let (mut pool, generation) = assigned_pool();
    let capacity = Some(Capacity { kv_tokens: 100 });
    report(&mut pool, 50, STREAM, generation, Update { capacity, ..running(3) });
    report(&mut pool, 90, STREAM, generation, running(4));
    let expected = Observed {
        incarnation: Incarnation(7),
        scrape_status: ScrapeStatus::Fresh,
        scrape_status_since_ms: 40,
        gauges: Gauges { waiting: 0, running: Some(4), kv_used_ppm: None },
        unbooked_requests: 0,
        capacity,
        ..Observed::default()
    };
    assert_eq!(&expected, observed(&pool));
}

#[test]
fn restart_removes_blocks_and_drops_placements_for_the_old_incarnation() {
    let (mut pool, generation) = assigned_pool();
    report(&mut pool, 50, STREAM, generation, running(1));
    place(&mut pool, Incarnation(7));
    assert_eq!(3, held(&pool));
    report(&mut pool, 90, STREAM, generation, Update { incarnation: Incarnation(8), ..running(0) });
    assert_eq!(0, held(&pool));
    place(&mut pool, Incarnation(7));
    assert_eq!(0, held(&pool));
    place(&mut pool, Incarnation(8));
    assert_eq!(3, held(&pool));
}

#[test]
fn first_known_incarnation_is_no_restart() {
    let (mut pool, generation) = assigned_pool();
    place(&mut pool, Incarnation(0));
    report(&mut pool, 50, STREAM, generation, running(1));
    assert_eq!(3, held(&pool));
}

/// A collector that takes over a hung endpoint knows only that the endpoint does not respond.
#[test]
fn report_without_incarnation_is_no_restart() {
    let (mut pool, generation) = assigned_pool();
    report(&mut pool, 50, STREAM, generation, running(1));
    place(&mut pool, Incarnation(7));
    report(
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
    report(&mut pool, 99, STREAM, generation, Update { incarnation: Incarnation(8), ..running(1) });
    assert_eq!(0, held(&pool));
}

#[test]
fn values_are_stale_while_their_collector_is_silent() {
    let (mut pool, generation) = assigned_pool();
    report(&mut pool, 50, STREAM, generation, running(1));
    pool.handle(1_000, PoolInput::Reports(STREAM, Vec::new()));
    pool.handle(1_000 + STALE_AFTER_MS - 1, PoolInput::Tick);
    assert_eq!(ScrapeStatus::Fresh, observed(&pool).scrape_status);
    pool.handle(1_000 + STALE_AFTER_MS, PoolInput::Tick);
    assert_eq!(
        (ScrapeStatus::Stale, Some(1)),
        (observed(&pool).scrape_status, observed(&pool).gauges.running)
    );
    report(&mut pool, 4_000, STREAM, generation, running(1));
    assert_eq!(ScrapeStatus::Fresh, observed(&pool).scrape_status);
}

#[test]
fn endpoint_that_is_never_scraped_becomes_stale() {
    let mut pool = pool_of(1, config());
    pool.handle(STALE_AFTER_MS - 1, PoolInput::Tick);
    assert_eq!(ScrapeStatus::Unknown, observed(&pool).scrape_status);
    pool.handle(STALE_AFTER_MS, PoolInput::Tick);
    assert_eq!(
        (ScrapeStatus::Stale, STALE_AFTER_MS),
        (observed(&pool).scrape_status, observed(&pool).scrape_status_since_ms)
    );
}

#[test]
fn values_survive_a_short_absence_of_all_collectors() {
    let (mut pool, generation) = assigned_pool();
    report(&mut pool, 1_000, STREAM, generation, running(1));
    pool.handle(1_050, PoolInput::CollectorLeft(STREAM));
    pool.handle(1_000 + STALE_AFTER_MS - 1, PoolInput::Tick);
    assert_eq!(ScrapeStatus::Fresh, observed(&pool).scrape_status);
    pool.handle(1_000 + STALE_AFTER_MS, PoolInput::Tick);
    assert_eq!(ScrapeStatus::Stale, observed(&pool).scrape_status);
}

#[test]
fn moved_endpoint_starts_over_and_ignores_reports_of_the_old_address() {
    let (mut pool, old) = assigned_pool();
    report(&mut pool, 50, STREAM, old, running(5));
    let elsewhere = endpoint_spec(0, 1);
    let kept_page =
        signalbox_types::EndpointSpec { metrics_url: endpoint_spec(0, 0).metrics_url, ..elsewhere };
    let new = generation(&pool.handle(60, PoolInput::Spec(pool_spec([kept_page]))));
    report(&mut pool, 70, STREAM, old, running(5));
    assert_eq!(&Observed { scrape_status_since_ms: 60, ..Observed::default() }, observed(&pool));
    report(&mut pool, 80, STREAM, new, running(2));
    assert_eq!(Some(2), observed(&pool).gauges.running);
}

#[test]
fn maximum_values_do_no_harm() {
    let (mut pool, generation) = assigned_pool();
    let gauges = Some(Gauges { waiting: u32::MAX, running: Some(u32::MAX), kv_used_ppm: Some(u32::MAX) });
    let capacity = Some(Capacity { kv_tokens: u64::MAX });
    for now_ms in 0..4 {
        let update = Update { gauges, capacity, ..running(0) };
        let report = Report { endpoint: endpoint(0), generation, age_ms: u64::MAX, update };
        pool.handle(now_ms, PoolInput::Reports(STREAM, vec![report]));
    }
    pool.handle(60, PoolInput::Tick);
    pool.handle(120, PoolInput::Tick);
    assert_eq!(u32::MAX, observed(&pool).unbooked_requests);
}
