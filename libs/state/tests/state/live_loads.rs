//! Views read the latest loads, also while endpoints and origins come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signalbox_state::{Bookings, Change, PeerLoad, PoolInput, StateReplica, View};
use signalbox_types::{Load, Origin};

use crate::feedback::{full_batch, partial_batch};
use crate::fixtures::{OWNER, catch_up, config, endpoint, endpoint_spec, pool_of, pool_spec};

const OWN: Origin = Origin(1);

fn load(requests: u32) -> Load {
    Load { requests, prefills: requests, prefill_tokens: u64::from(requests) * 10 }
}

fn next_view(before: &View, replica: &StateReplica) -> View {
    View::next(before, replica, &Bookings::new(Arc::new(|| {})))
}

/// Returns what the view reads of an endpoint: the whole load, and that of all replicas but one.
fn read(view: &View, index: usize) -> (Load, Load) {
    let position = view.position(endpoint(index)).unwrap();
    (view.booked_at(position), view.booked_without(OWN)[position])
}

#[test]
fn earlier_view_reads_its_endpoints_while_many_others_are_added() {
    let mut pool = pool_of(2, config());
    let mut replica = StateReplica::default();
    let send = |pool: &mut signalbox_state::Pool, origin: u64, seq, requests| {
        let gauges = vec![(endpoint(0), load(requests))];
        pool.handle(0, PoolInput::Feedback(partial_batch(origin, seq, gauges, Vec::new())));
    };
    send(&mut pool, 1, 1, 1);
    send(&mut pool, 2, 1, 2);
    catch_up(&mut replica, &pool);
    let view = next_view(&View::default(), &replica);
    pool.handle(0, PoolInput::Spec(pool_spec((0..100).map(|index| endpoint_spec(index, 0)))));
    send(&mut pool, 1, 2, 3);
    send(&mut pool, 2, 2, 4);
    catch_up(&mut replica, &pool);
    assert_eq!((load(7), load(4)), read(&view, 0));
    assert_eq!((load(7), load(4)), read(&next_view(&view, &replica), 0));
}

#[test]
fn endpoint_in_the_slot_of_a_removed_one_starts_without_its_load() {
    let mut pool = pool_of(2, config());
    let mut replica = StateReplica::default();
    let gauges = vec![(endpoint(0), load(5)), (endpoint(1), load(6))];
    pool.handle(0, PoolInput::Feedback(full_batch(2, 1, gauges, Vec::new())));
    catch_up(&mut replica, &pool);
    let before = next_view(&View::default(), &replica);
    for present in [1..2, 1..3] {
        pool.handle(0, PoolInput::Spec(pool_spec(present.map(|index| endpoint_spec(index, 0)))));
    }
    replica.record_time(70);
    catch_up(&mut replica, &pool);
    let after = next_view(&before, &replica);
    assert_eq!((load(0), load(0)), read(&after, 2));
    let began = after.local_state(OWN, PeerLoad::Current, 100).prefilling_ms;
    assert_eq!(30, began[after.position(endpoint(2)).unwrap()]);
    let gauges = vec![(endpoint(2), load(9)), (endpoint(1), load(7))];
    pool.handle(0, PoolInput::Feedback(full_batch(2, 2, gauges, Vec::new())));
    catch_up(&mut replica, &pool);
    assert_eq!(
        [load(7); 2],
        <[Load; 2]>::from(read(&before, 1)),
        "what remains is right in the earlier view, too"
    );
    assert_eq!([load(9); 2], <[Load; 2]>::from(read(&after, 2)));
}

#[test]
fn origin_that_returns_after_its_column_was_dropped_is_left_out_of_the_next_view() {
    let mut pool = pool_of(1, config());
    let mut replica = StateReplica::default();
    let mut view = View::default();
    let steps = [(1, 4), (2, 2), (1, 0), (3, 1), (1, 5)];
    for (seq, (origin, requests)) in (1..).zip(steps) {
        let gauges = vec![(endpoint(0), load(requests))];
        pool.handle(0, PoolInput::Feedback(full_batch(origin, seq, gauges, Vec::new())));
        catch_up(&mut replica, &pool);
        view = next_view(&view, &replica);
    }
    assert_eq!((load(8), load(3)), read(&view, 0));
}

/// A follower that takes a snapshot does not see when the prompts before it started.
#[test]
fn snapshot_continues_the_prefill_unless_a_prompt_was_completed_or_is_the_first() {
    for (before, after, began_ms) in [(2, 2, 10), (2, 3, 10), (2, 1, 60), (0, 1, 60), (0, 0, 10)] {
        let mut pool = pool_of(1, config());
        let mut replica = StateReplica::default();
        let mut hear = |pool: &mut signalbox_state::Pool, now_ms, seq, requests| {
            let gauges = vec![(endpoint(0), load(requests))];
            pool.handle(now_ms, PoolInput::Feedback(full_batch(2, seq, gauges, Vec::new())));
            replica.record_time(now_ms);
            for frame in Arc::new(pool.snapshot()).frames() {
                replica.apply(OWNER, frame);
            }
            next_view(&View::default(), &replica)
        };
        hear(&mut pool, 10, 1, before);
        // A change that makes the second snapshot a newer one, whatever the loads are.
        pool.handle(20, PoolInput::Feedback(full_batch(3, 1, vec![(endpoint(0), Load::ZERO)], Vec::new())));
        let models = crate::fixtures::spec_with_models(crate::fixtures::models(1));
        pool.handle(20, PoolInput::Spec(models));
        let view = hear(&mut pool, 60, 2, after);
        assert_eq!(Some(pool.journal().head()), view.version);
        let local = view.local_state(OWN, PeerLoad::Current, 100);
        assert_eq!(vec![100 - began_ms], local.prefilling_ms, "from {before} prompts to {after}");
    }
}

/// What a thread reads is always made of values that were written whole.
#[test]
fn reader_sees_whole_values_while_the_writer_changes_them() {
    let mut pool = pool_of(1, config());
    let gauges = vec![(endpoint(0), load(1))];
    pool.handle(0, PoolInput::Feedback(full_batch(1, 1, gauges, Vec::new())));
    let mut replica = StateReplica::default();
    catch_up(&mut replica, &pool);
    let view = next_view(&View::default(), &replica);
    let is_done = AtomicBool::new(false);
    let known = [0, 3, u32::MAX - 10];
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while reads == 0 || !is_done.load(Ordering::Relaxed) {
                let all = view.booked_at(0);
                assert!(known.iter().any(|other| other + 1 == all.requests), "{all:?}");
                assert!(known.iter().any(|other| other + 1 == all.prefills), "{all:?}");
                assert!(known.iter().any(|other| u64::from(other + 1) * 10 == all.prefill_tokens), "{all:?}");
                let others = view.booked_without(OWN)[0];
                assert!(known.contains(&others.requests), "{others:?}");
                reads += 1;
            }
        });
        let first = replica.version().unwrap().seq;
        for (from, round) in (first..).zip(0..20_000) {
            let change = Change::LoadChanged {
                endpoint: endpoint(0),
                origin: Origin(2),
                load: load(known[round % 3]),
            };
            let changes = vec![change].into();
            let frame = signalbox_state::Frame::Delta { epoch: 1, from, to: from + 1, changes };
            assert_eq!(signalbox_state::ApplyOutcome::Applied, replica.apply(OWNER, frame));
        }
        is_done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
}
