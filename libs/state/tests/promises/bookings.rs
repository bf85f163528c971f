//! Work in flight, booked by many tasks at once: nothing is left in the end and no change is missed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use signalbox_state::Bookings;
use signalbox_types::{EndpointKey, Load};

#[derive(Clone, Debug)]
struct Request {
    endpoint: u64,
    tokens: u64,
    responses: bool,
    /// How many of the requests after it begin before it ends.
    lasts: usize,
}

fn requests() -> impl proptest::strategy::Strategy<Value = Vec<Request>> {
    use proptest::strategy::Strategy;
    let request = (0_u64..3, 0_u64..100, any::<bool>(), 0_usize..4);
    vec(
        request.prop_map(|(endpoint, tokens, responses, lasts)| Request {
            endpoint,
            tokens,
            responses,
            lasts,
        }),
        1..200,
    )
}

fn serve(bookings: &Bookings, requests: &[Request]) {
    let mut open = Vec::new();
    for Request { endpoint, tokens, responses, lasts } in requests {
        let mut booking = bookings.reserve(EndpointKey(*endpoint), *tokens);
        if *responses {
            booking.prefilled(0);
            booking.prefilled(0);
        }
        open.push((booking, *lasts));
        open.retain_mut(|(_, lasts)| {
            *lasts = lasts.saturating_sub(1);
            *lasts > 0
        });
    }
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(32))]

    #[test]
    fn nothing_is_left_and_whoever_follows_the_changes_knows_it(lots in vec(requests(), 4)) {
        let wakes = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&wakes);
        let bookings = Bookings::new(Arc::new(move || _ = counted.fetch_add(1, Ordering::Relaxed)));
        let done = AtomicBool::new(false);
        let mut followed: BTreeMap<EndpointKey, Load> = BTreeMap::new();
        std::thread::scope(|scope| {
            let follower = scope.spawn(|| {
                let mut followed = BTreeMap::new();
                while !done.load(Ordering::Acquire) {
                    followed.extend(bookings.take_changed());
                }
                followed
            });
            let busy: Vec<_> = lots.iter().map(|requests| scope.spawn(|| serve(&bookings, requests))).collect();
            busy.into_iter().for_each(|thread| thread.join().expect("it serves"));
            done.store(true, Ordering::Release);
            followed = follower.join().expect("it follows");
        });
        followed.extend(bookings.take_changed());
        prop_assert!(followed.values().all(|load| *load == Load::ZERO));
        prop_assert!(bookings.whole().is_empty());
        let requests: usize = lots.iter().map(Vec::len).sum();
        prop_assert!(wakes.load(Ordering::Relaxed) >= 2 * requests as u64);
        prop_assert_eq!(Vec::<(EndpointKey, Load)>::new(), bookings.take_changed());
    }
}

#[test]
fn only_gauges_of_absent_endpoints_without_work_are_forgotten() {
    let bookings = Bookings::new(Arc::new(|| {}));
    let kept = bookings.reserve(EndpointKey(1), 1);
    drop(bookings.reserve(EndpointKey(2), 1));
    drop(bookings.reserve(EndpointKey(3), 1));
    let gauges = [1, 2, 3].map(|key| bookings.gauge(EndpointKey(key)));
    bookings.retain(|endpoint| endpoint == EndpointKey(3));
    let same =
        [1, 2, 3].map(|key: u64| Arc::ptr_eq(&gauges[key as usize - 1], &bookings.gauge(EndpointKey(key))));
    assert_eq!([true, false, true], same);
    drop(kept);
}
