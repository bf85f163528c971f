//! Unbooked load is the minimum of the last three samples of max(0, requests at the endpoint − requests
//! booked).

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::{Strategy, prop_assert_eq, prop_oneof, proptest};
use signalbox_state::{CollectorStream, Pool, PoolInput, ScrapeStatus, Update};
use signalbox_types::{Gauges, Incarnation, Load};

use crate::feedback::full_batch;
use crate::fixtures::endpoint;
use crate::reports::{assigned_pool, report, running};

const STREAM: CollectorStream = CollectorStream(1);

#[derive(Clone, Debug)]
enum Step {
    /// A scrape: waiting and running requests.
    Scrape(u32, u32),
    Book(u32),
    Tick,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0_u32..4, 0_u32..9).prop_map(|(waiting, running)| Step::Scrape(waiting, running)),
        2 => (0_u32..9).prop_map(Step::Book),
        2 => proptest::prelude::Just(Step::Tick),
    ]
}

fn unbooked_requests(pool: &Pool) -> u32 {
    pool.pool_state().endpoint(endpoint(0)).expect("the endpoint exists").observed.unbooked_requests
}

fn book(pool: &mut Pool, now_ms: u64, requests: u32) {
    let gauges = vec![(endpoint(0), Load { requests, prefills: requests / 2, prefill_tokens: 0 })];
    pool.handle(now_ms, PoolInput::Feedback(full_batch(1, now_ms, gauges, Vec::new())));
}

proptest! {
    #[test]
    fn unbooked_load_is_the_minimum_of_the_last_three_samples(steps in vec(step(), 1..60)) {
        let (mut pool, generation) = assigned_pool();
        let (mut samples, mut scraped, mut booked) = (VecDeque::from([0_u32; 3]), None, 0);
        let mut scraped_since_tick = false;
        for (at, step) in steps.into_iter().enumerate() {
            let now_ms = at as u64 + 1;
            let is_sampled = match step {
                Step::Scrape(waiting, running) => {
                    let gauges = Some(Gauges { waiting, running: Some(running), kv_used_ppm: None });
                    report(&mut pool, now_ms, STREAM, generation, Update { gauges, ..self::running(0) });
                    scraped = Some(waiting + running);
                    scraped_since_tick = true;
                    true
                }
                Step::Book(requests) => {
                    book(&mut pool, now_ms, requests);
                    booked = requests;
                    false
                }
                Step::Tick => {
                    pool.handle(now_ms, PoolInput::Tick);
                    !std::mem::take(&mut scraped_since_tick)
                }
            };
            if let Some(scraped) = scraped.filter(|_| is_sampled) {
                samples.rotate_left(1);
                samples[2] = u32::saturating_sub(scraped, booked);
            }
            prop_assert_eq!(samples.iter().min().copied(), Some(unbooked_requests(&pool)));
        }
    }
}

#[test]
fn restart_resets_the_unbooked_load() {
    let (mut pool, generation) = assigned_pool();
    (1..4).for_each(|now_ms| report(&mut pool, now_ms, STREAM, generation, running(5)));
    assert_eq!(5, unbooked_requests(&pool));
    for expected in [0, 0, 5] {
        report(&mut pool, 9, STREAM, generation, Update { incarnation: Incarnation(8), ..running(5) });
        assert_eq!(expected, unbooked_requests(&pool));
    }
}

#[test]
fn values_that_are_not_fresh_do_not_count() {
    let (mut pool, generation) = assigned_pool();
    book(&mut pool, 1, 5);
    (2..5).for_each(|now_ms| report(&mut pool, now_ms, STREAM, generation, running(5)));
    book(&mut pool, 5, 0);
    for now_ms in 6..12 {
        report(
            &mut pool,
            now_ms,
            STREAM,
            generation,
            Update { scrape_status: ScrapeStatus::Down, gauges: None, ..running(0) },
        );
        pool.handle(now_ms, PoolInput::Tick);
    }
    assert_eq!(0, unbooked_requests(&pool));
}
