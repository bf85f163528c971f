//! How much history a role keeps can be changed at any time, and then holds in every status.

use std::sync::Arc;

use signalbox_state::{
    ClaimResult, JournalBounds, ObservedOwner, PoolRole, PoolRoleConfig, RoleInput, RoleStatus,
};
use signalbox_types::{PoolSpec, Version};

use crate::fixtures::{config, models, role_config, spec_with_models};

/// More than all changes of a test weigh, and as much as a few of them.
const MUCH: JournalBounds = JournalBounds { keep_bytes: 1 << 20, keep_ms: 0, max_bytes: 1 << 20 };
const LITTLE: JournalBounds = JournalBounds { keep_bytes: 2_048, keep_ms: 0, max_bytes: 2_048 };

/// A pool's only aggregator.
struct Aggregator {
    role: PoolRole,
    now_ms: u64,
}

impl Aggregator {
    /// Starts an aggregator that owns the pool under epoch 1.
    fn start(history: JournalBounds) -> Self {
        let mut pool = config();
        pool.journal = history;
        let role_config = PoolRoleConfig { pool, ..role_config("a") };
        let mut aggregator = Self { role: PoolRole::new(role_config, spec(0)), now_ms: 0 };
        aggregator.take_over(1);
        aggregator
    }

    fn handle(&mut self, input: RoleInput) {
        self.role.handle(self.now_ms, input);
    }

    fn take_over(&mut self, epoch: u64) {
        self.handle(RoleInput::ClaimAnswered(ClaimResult::Won { epoch, is_first: epoch == 1 }));
        while self.role.status() != RoleStatus::Owner(epoch) {
            self.now_ms += 50;
            assert!(self.now_ms < 60_000, "it does not become the owner of epoch {epoch}");
            self.handle(RoleInput::Tick);
        }
    }

    fn step_down(&mut self, to_epoch: u64) {
        let other = ObservedOwner::Other { name: "b".to_owned(), epoch: to_epoch };
        self.handle(RoleInput::OwnerObserved(other));
        assert_eq!(RoleStatus::Standby, self.role.status());
    }

    /// Makes 40 changes, and returns the versions before all and before the last one.
    fn change(&mut self) -> (Version, Version) {
        let (first, mut last) = (self.role.version().unwrap(), Version::default());
        for number in (1..=2).cycle().take(40) {
            last = self.role.version().unwrap();
            self.handle(RoleInput::Spec(spec(number)));
        }
        (first, last)
    }

    /// Returns whether a follower at `version` continues without a snapshot.
    fn covers(&self, version: Version) -> bool {
        self.role.pool().unwrap().journal().covers(version)
    }
}

fn spec(models_number: u8) -> Arc<PoolSpec> {
    spec_with_models(models(models_number))
}

#[test]
fn owner_forgets_at_once_what_is_too_much() {
    let mut owner = Aggregator::start(MUCH);
    let (first, last) = owner.change();
    assert!(owner.covers(first) && owner.covers(last));
    owner.role.set_history(0, LITTLE);
    assert!(!owner.covers(first) && owner.covers(last));
    assert!(owner.role.history_bytes() <= LITTLE.keep_bytes);
}

#[test]
fn owner_keeps_more_from_then_on() {
    let mut owner = Aggregator::start(LITTLE);
    let (first, _) = owner.change();
    assert!(!owner.covers(first));
    owner.role.set_history(0, MUCH);
    let (first, _) = owner.change();
    assert!(owner.covers(first));
}

#[test]
fn bounds_outlast_the_changes_of_status() {
    let mut aggregator = Aggregator::start(MUCH);
    aggregator.role.set_history(0, LITTLE);
    aggregator.step_down(2);
    aggregator.take_over(3);
    let (first, last) = aggregator.change();
    assert!(!aggregator.covers(first) && aggregator.covers(last), "set as owner");
    aggregator.step_down(4);
    aggregator.role.set_history(0, MUCH);
    aggregator.take_over(5);
    let (first, _) = aggregator.change();
    assert!(aggregator.covers(first), "set as standby");
}
