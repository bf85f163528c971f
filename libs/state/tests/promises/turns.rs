//! A change of owner: whoever is not ahead of the new one keeps what it holds.

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert_eq, proptest};
use signalbox_state::{Effect, Input, Replica};
use signalbox_types::Version;

use crate::support::contents::Contents;
use crate::support::steps::{life, step};
use crate::support::world::World;
use crate::support::{catch_up, config, pool_of};

proptest! {
    #[test]
    fn only_a_follower_ahead_of_the_base_takes_a_snapshot(
        shared in life(1..20),
        seen in any::<proptest::sample::Index>(),
        ahead in vec(step(), 0..10),
        later in vec(step(), 0..10),
        turns in 1_u64..4,
    ) {
        let mut deposed = World::new(1, config());
        let (mut behind, mut up_to_date) = (Replica::default(), Replica::default());
        for (at, step) in shared.iter().enumerate() {
            deposed.step(step);
            if at == seen.index(shared.len()) {
                catch_up(&mut behind, &deposed.pool);
            }
        }
        catch_up(&mut up_to_date, &deposed.pool);
        let base = deposed.pool.journal().head().seq;
        deposed.live(&ahead);

        let mut world = World::new(1, config());
        world.live(&shared);
        for epoch in 2..2 + turns {
            world.pool.turn(epoch);
            world.live(&later);
        }
        let mut too_far = Replica::default();
        catch_up(&mut too_far, &deposed.pool);
        let is_ahead = deposed.pool.journal().head().seq > base;
        for (follower, takes_snapshot) in [(behind, false), (up_to_date, false), (too_far, is_ahead)] {
            let mut follower = follower;
            prop_assert_eq!(takes_snapshot, catch_up(&mut follower, &world.pool));
            prop_assert_eq!(Some(world.pool.journal().head()), follower.cursor());
            prop_assert_eq!(Contents::of(world.pool.picture()), Contents::of(follower.picture()));
        }
    }
}

#[test]
fn a_turn_to_an_epoch_that_is_not_later_is_none() {
    let mut pool = pool_of(2, config());
    let head = pool.journal().head();
    pool.turn(1);
    pool.turn(0);
    assert_eq!(head, pool.journal().head());
    pool.turn(4);
    assert_eq!(Version { epoch: 4, seq: head.seq }, pool.journal().head());
}

#[test]
fn an_owner_says_when_it_hears_of_a_later_epoch_and_only_then() {
    let mut pool = pool_of(1, config());
    assert_eq!(vec![Effect::Outranked(2)], pool.fold(0, Input::EpochHeard(2)));
    assert!(pool.fold(0, Input::EpochHeard(1)).is_empty());
    assert!(pool.fold(0, Input::EpochHeard(0)).is_empty());
}
