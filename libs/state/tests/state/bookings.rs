//! Concurrent bookings: no load is left at the end, and no change is missed.

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
    has_output: bool,
    /// How many later requests start before this one ends.
    lasts: usize,
}

fn requests() -> impl proptest::strategy::Strategy<Value = Vec<Request>> {
    use proptest::strategy::Strategy;
    let request = (0_u64..3, 0_u64..100, any::<bool>(), 0_usize..4);
    vec(
        request.prop_map(|(endpoint, tokens, has_output, lasts)| Request {
            endpoint,
            tokens,
            has_output,
            lasts,
        }),
        1..200,
    )
}

fn serve(bookings: &Bookings, requests: &[Request]) {
    let mut open = Vec::new();
    for Request { endpoint, tokens, has_output, lasts } in requests {
        let mut booking = bookings.reserve(EndpointKey(*endpoint), *tokens);
        if *has_output {
            booking.record_first_output(0);
            booking.record_first_output(0);
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
    fn all_bookings_end_and_changes_report_it(request_lists in vec(requests(), 4)) {
        let notifications = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&notifications);
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
            let busy: Vec<_> = request_lists.iter().map(|requests| scope.spawn(|| serve(&bookings, requests))).collect();
            busy.into_iter().for_each(|thread| thread.join().expect("the thread does not panic"));
            done.store(true, Ordering::Release);
            followed = follower.join().expect("the thread does not panic");
        });
        followed.extend(bookings.take_changed());
        prop_assert!(followed.values().all(|load| *load == Load::ZERO));
        prop_assert!(bookings.loads().is_empty());
        let requests: usize = request_lists.iter().map(Vec::len).sum();
        prop_assert!(notifications.load(Ordering::Relaxed) >= 2 * requests as u64);
        prop_assert_eq!(Vec::<(EndpointKey, Load)>::new(), bookings.take_changed());
    }
}

#[test]
fn gauge_goes_when_no_view_no_request_and_no_change_needs_it() {
    let bookings = Bookings::new(Arc::new(|| {}));
    let in_flight = bookings.reserve(EndpointKey(1), 1);
    drop(bookings.reserve(EndpointKey(2), 1));
    let in_view = bookings.gauge(EndpointKey(3));
    let count = || {
        bookings.remove_unused();
        format!("{bookings:?}").matches("InFlightGauge").count()
    };
    assert_eq!(3, count(), "the end of the request at the second endpoint was not taken");
    bookings.take_changed();
    assert_eq!(2, count());
    drop(in_view);
    assert_eq!(1, count());
    drop(in_flight);
    assert_eq!(vec![(EndpointKey(1), Load::ZERO)], bookings.take_changed());
    assert_eq!(0, count());
}
