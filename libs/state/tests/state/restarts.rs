//! Restarts of engines that do not report their start: a new incarnation starts over.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use signalbox_state::{
    CollectorStream, DecodeObservation, EndpointObserver, Observed, Pool, PoolInput, ScrapeResult, Update,
};
use signalbox_types::{Gauges, Generation, Incarnation, Rates, Sample, Work};

use crate::feedback::partial_batch;
use crate::fixtures::{config, endpoint, endpoint_spec, placement, pool_spec};
use crate::reports::{assigned_pool, generation, report, running};

const STREAM: CollectorStream = CollectorStream(1);

fn work(requests: u64) -> Work {
    Work { requests, prompt_tokens: requests * 100, output_tokens: requests * 10 }
}

/// What a collector reports that has read one page of an engine without a start time.
fn worked(requests: u64) -> Update {
    Update { incarnation: Incarnation(0), work: Some(work(requests)), is_asleep: Some(false), ..running(1) }
}

fn observed(pool: &Pool) -> &Observed {
    &pool.pool_state().endpoint(endpoint(0)).unwrap().observed
}

/// Places a prompt of three blocks at the current incarnation of the endpoint.
fn place(pool: &mut Pool) {
    let number = pool.journal().head().seq + 1;
    let placed = placement(number, endpoint(0), observed(pool).incarnation, &[0, 1, 2], 0);
    pool.handle(0, PoolInput::Feedback(partial_batch(1, number, Vec::new(), vec![placed])));
}

fn held(pool: &Pool) -> usize {
    pool.pool_state().index_writer().placed_blocks(endpoint(0))
}

/// Moves the endpoint to another collector.
fn reassign(pool: &mut Pool, now_ms: u64, from: u64, to: u64) -> (CollectorStream, Generation) {
    pool.handle(now_ms, PoolInput::CollectorLeft(CollectorStream(from)));
    let to = CollectorStream(to);
    let effects = pool.handle(now_ms, PoolInput::CollectorJoined(to, format!("collector {}", to.0)));
    (to, generation(&effects))
}

#[test]
fn restart_resets_blocks_rates_and_ramp() {
    let (mut pool, generation) = assigned_pool();
    report(&mut pool, 0, STREAM, generation, worked(50));
    let first = observed(&pool).incarnation;
    assert_ne!(Incarnation(0), first);
    for now_ms in 1..40 {
        let decode = Some(DecodeObservation { inter_token_us: 90_000, running_milli: 1_000 });
        report(&mut pool, now_ms, STREAM, generation, Update { decode, ..worked(50 + now_ms) });
    }
    place(&mut pool);
    pool.handle(20_000, PoolInput::Tick);
    let assessment = &pool.pool_state().endpoint(endpoint(0)).unwrap().assessment;
    assert_eq!((3, 0), (held(&pool), assessment.ramp_percent));
    assert_ne!(Rates::default(), assessment.rates);
    report(&mut pool, 20_010, STREAM, generation, worked(2));
    assert_ne!(first, observed(&pool).incarnation);
    pool.handle(20_011, PoolInput::Tick);
    let assessment = &pool.pool_state().endpoint(endpoint(0)).unwrap().assessment;
    assert_eq!((0, 100), (held(&pool), assessment.ramp_percent));
    assert_eq!(Rates::default(), assessment.rates);
    let adapters = &pool.pool_state().endpoint(endpoint(0)).unwrap().adapters;
    assert_eq!(None, *adapters, "an engine that never reported adapters has none now");
}

#[test]
fn another_collector_continues_the_incarnation_or_notices_the_restart() {
    let (mut pool, generation) = assigned_pool();
    report(&mut pool, 0, STREAM, generation, worked(50));
    // This collector has noticed a restart.
    report(&mut pool, 10, STREAM, generation, Update { incarnation: Incarnation(77), ..worked(40) });
    place(&mut pool);
    let (other, generation) = reassign(&mut pool, 20, 1, 2);
    report(&mut pool, 30, other, generation, worked(40));
    assert_eq!((3, Incarnation(77)), (held(&pool), observed(&pool).incarnation));
    let (third, generation) = reassign(&mut pool, 40, 2, 3);
    report(&mut pool, 50, third, generation, worked(39));
    assert_eq!(0, held(&pool));
    assert_ne!(Incarnation(77), observed(&pool).incarnation);
}

#[test]
fn the_next_owner_continues_the_incarnation_or_notices_the_restart() {
    for (requests, continues) in [(50, true), (60, true), (49, false)] {
        let (mut pool, generation) = assigned_pool();
        report(&mut pool, 0, STREAM, generation, worked(50));
        place(&mut pool);
        let incarnation = observed(&pool).incarnation;
        let mut pool = Pool::inherit(2, config(), pool.into_replica(), 1_000);
        pool.handle(1_001, PoolInput::CollectorJoined(STREAM, "one".to_owned()));
        pool.handle(1_001, PoolInput::Spec(pool_spec([endpoint_spec(0, 0)])));
        let generation = self::generation(&pool.handle(1_400, PoolInput::Tick));
        report(&mut pool, 1_410, STREAM, generation, worked(requests));
        assert_eq!(continues, observed(&pool).incarnation == incarnation, "{requests}");
        assert_eq!(if continues { 3 } else { 0 }, held(&pool), "{requests}");
    }
}

#[test]
fn work_alone_is_not_a_change() {
    let (mut pool, generation) = assigned_pool();
    // The unbooked load settles with the third sample.
    (0..3).for_each(|now_ms| report(&mut pool, now_ms, STREAM, generation, worked(50)));
    let head = pool.journal().head();
    (51..60).for_each(|requests| report(&mut pool, requests, STREAM, generation, worked(requests)));
    assert_eq!(head, pool.journal().head());
}

#[test]
fn sleep_empties_the_cache() {
    let (mut pool, generation) = assigned_pool();
    report(&mut pool, 0, STREAM, generation, worked(50));
    place(&mut pool);
    report(&mut pool, 10, STREAM, generation, Update { is_asleep: Some(true), ..worked(50) });
    assert_eq!((0, true), (held(&pool), observed(&pool).is_asleep));
    report(&mut pool, 20, STREAM, generation, Update { is_asleep: None, ..worked(50) });
    assert!(observed(&pool).is_asleep, "an absent part is unchanged");
}

/// One run of a model server, as requests per page.
type Run = Vec<u64>;

proptest! {
    /// Collectors come and go between pages, as `handovers` says. Each run begins with fewer requests than the
    /// one before ended with.
    #[test]
    fn each_restart_gives_a_new_incarnation_and_nothing_else_does(
        runs in vec(vec(1..9_u64, 1..5), 1..6), handovers in vec(any::<bool>(), 30),
    ) {
        let (mut pool, mut generation) = assigned_pool();
        let (mut stream, mut observer, mut handovers) = (1, EndpointObserver::new(0, 2_000), handovers.into_iter());
        let (mut now_ms, mut incarnations, mut done) = (0, BTreeSet::new(), 1_024);
        for run in &runs as &[Run] {
            // The first page of a run shows less than the last page of the run before.
            let mut more = 0;
            done /= 2;
            let mut found = BTreeSet::new();
            for requests in run {
                now_ms += 50;
                done += more;
                more = *requests;
                if handovers.next() == Some(true) {
                    stream += 1;
                    (_, generation) = reassign(&mut pool, now_ms, stream - 1, stream);
                    observer = EndpointObserver::new(now_ms, 2_000);
                }
                let gauges = Gauges { waiting: now_ms as u32, ..Gauges::default() };
                let sample = Sample { gauges, work: work(done), ..Sample::default() };
                if let Some(update) = observer.observe(now_ms, ScrapeResult::Sampled(sample)) {
                    report(&mut pool, now_ms, CollectorStream(stream), generation, update);
                }
                found.insert(observed(&pool).incarnation);
            }
            prop_assert_eq!(1, found.len());
            prop_assert!(found.into_iter().all(|incarnation| incarnations.insert(incarnation)));
        }
    }
}
