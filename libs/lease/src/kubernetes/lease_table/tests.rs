use std::time::SystemTime;

use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};
use signalbox_types::PoolId;

use super::*;
use crate::kubernetes::objects::MemberRun;
use crate::membership::{Member, Role};
use crate::ownership::Owner;

const TTL: Duration = Duration::from_secs(6);

fn pool() -> PoolId {
    PoolId { namespace: "n".to_owned(), name: "p".to_owned() }
}

fn run(name: &str, id: &str) -> MemberRun {
    MemberRun { name: name.to_owned(), id: id.to_owned() }
}

/// The Lease of a member after its `count`-th renewal.
fn member(name: &str, id: &str, count: u64) -> Lease {
    let member = Member { role: Role::Aggregator, name: name.to_owned(), address: None };
    let mut lease = Lease { name: name.to_owned(), ..Lease::default() };
    objects::write_member(&mut lease, &member, &run(name, id), TTL);
    lease.acquired = None;
    lease.renewed = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(count));
    lease
}

fn owned_by(name: &str, id: &str) -> Lease {
    let mut lease = objects::new_pool_lease("pool".to_owned(), &pool());
    let owner = Owner { name: name.to_owned(), address: "a:1".parse().unwrap(), epoch: 7 };
    objects::write_owner(&mut lease, &owner, &run(name, id));
    lease
}

fn names(table: &LeaseTable) -> Vec<String> {
    keys::decode_members(&table.entries(), Role::Aggregator).into_iter().map(|member| member.name).collect()
}

fn has_owner(table: &LeaseTable) -> bool {
    table.entries().contains_key(&keys::owner_key(&pool()))
}

/// A table after a listing.
fn listed(leases: &[Lease]) -> (LeaseTable, Instant) {
    let (mut table, now) = (LeaseTable::new("signalbox"), Instant::now());
    table.replace(now, now, leases.to_vec());
    (table, now)
}

#[test]
fn member_expires_by_a_listing_after_its_time_to_live() {
    let leases = [member("a", "1", 1), owned_by("a", "1")];
    let (mut table, start) = listed(&leases);
    assert_eq!(Some(start + TTL), table.next_listing());
    let late = start + TTL * 2;
    // The answer came late, but the question was asked too early.
    table.replace(start + TTL - Duration::from_millis(1), late, leases.to_vec());
    assert!(names(&table) == ["a"] && has_owner(&table));
    table.replace(start + TTL, late, leases.to_vec());
    assert!(names(&table).is_empty() && !has_owner(&table));
    assert!(table.is_expired(&leases[0]));
    assert!(table.apply(LeaseEvent::Changed(member("a", "1", 2)), late));
    assert!(names(&table) == ["a"] && has_owner(&table));
    assert!(!table.is_expired(&leases[0]));
}

#[test]
fn renewals_count_whatever_the_clock_of_the_member_says() {
    let (mut table, start) = listed(&[member("a", "1", 1_000)]);
    let later = start + TTL / 2;
    assert!(!table.apply(LeaseEvent::Changed(member("a", "1", 5)), later));
    assert_eq!(Some(later + TTL), table.next_listing());
}

#[test]
fn trouble_gives_members_their_whole_time_to_live_again() {
    let leases = [member("a", "1", 1)];
    let (mut table, start) = listed(&leases);
    let trouble = start + TTL - Duration::from_millis(1);
    table.record_trouble(trouble);
    table.replace(start + TTL, start + TTL, leases.to_vec());
    assert_eq!((vec!["a".to_owned()], Some(trouble + TTL)), (names(&table), table.next_listing()));
    table.replace(trouble + TTL, trouble + TTL, leases.to_vec());
    assert!(names(&table).is_empty());
}

#[test]
fn restarted_member_does_not_own_what_its_earlier_run_owned() {
    let (mut table, start) = listed(&[member("a", "1", 1), owned_by("a", "1")]);
    assert!(has_owner(&table));
    assert!(table.apply(LeaseEvent::Changed(member("a", "2", 2)), start));
    assert!(!has_owner(&table) && names(&table) == ["a"]);
}

#[test]
fn pool_is_released_with_the_lease_of_its_owner() {
    let (mut table, start) = listed(&[member("a", "1", 1), owned_by("a", "1")]);
    assert!(table.apply(LeaseEvent::Deleted(member("a", "1", 1)), start));
    assert!(!has_owner(&table) && names(&table).is_empty());
}

#[test]
fn member_that_is_missing_from_a_listing_stays_for_its_time_to_live_and_owns_nothing() {
    let (mut table, start) = listed(&[member("a", "1", 1), owned_by("a", "1")]);
    table.replace(start, start, vec![owned_by("a", "1")]);
    assert!(names(&table) == ["a"] && !has_owner(&table));
    assert_eq!(Some(start + TTL), table.next_listing());
    let mut registered = table;
    let mut lost = LeaseTable { leases: registered.leases.clone(), ..LeaseTable::new("signalbox") };
    lost.replace(start + TTL, start + TTL, vec![owned_by("a", "1")]);
    assert!(names(&lost).is_empty() && lost.next_listing().is_none());
    assert!(registered.apply(LeaseEvent::Changed(member("a", "1", 2)), start));
    assert!(names(&registered) == ["a"] && has_owner(&registered));
}

#[test]
fn lease_of_a_dead_member_is_forgotten_after_an_hour() {
    let leases = [member("a", "1", 1)];
    let (mut table, start) = listed(&leases);
    table.replace(start + TTL, start + TTL, leases.to_vec());
    let hour = start + Duration::from_secs(3_600);
    assert_eq!(Some(hour), table.next_listing());
    assert!(table.take_forgotten(hour - Duration::from_millis(1)).is_empty());
    assert_eq!(leases[..], table.take_forgotten(hour)[..]);
    // It is not tried again at once if the deletion fails.
    assert!(table.take_forgotten(hour).is_empty());
    assert_eq!(Some(hour + Duration::from_secs(3_600)), table.next_listing());
}

#[test]
fn lease_of_the_installation_is_remembered_after_its_deletion() {
    let installed = Lease { name: "signalbox".to_owned(), uid: "u".to_owned(), ..Lease::default() };
    let (mut table, start) = listed(&[member("a", "1", 1)]);
    assert_eq!(None, table.installation_lease());
    table.apply(LeaseEvent::Changed(installed.clone()), start);
    table.apply(LeaseEvent::Deleted(installed), start);
    let owner = LeaseOwner { name: "signalbox".to_owned(), uid: "u".to_owned() };
    assert_eq!(Some(owner), table.installation_lease());
}

#[derive(Clone, Debug)]
enum Step {
    Renewed(usize),
    Listed,
    Trouble,
    Waited(u64),
}

const NAMES: [&str; 3] = ["a", "b", "c"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..NAMES.len()).prop_map(Step::Renewed),
        proptest::strategy::Just(Step::Listed),
        proptest::strategy::Just(Step::Trouble),
        (0..4_000_u64).prop_map(Step::Waited),
    ]
}

proptest! {
    /// A member is removed exactly by the listings that come its time to live after both its last renewal and
    /// the last trouble, and returns with its next renewal.
    #[test]
    fn members_expire_by_listings(steps in proptest::collection::vec(step(), 0..60)) {
        let mut counts = [0; NAMES.len()];
        let leases = |counts: &[u64]| -> Vec<Lease> {
            NAMES.iter().zip(counts).map(|(name, count)| member(name, "1", *count)).collect()
        };
        let (mut table, mut now) = listed(&leases(&counts));
        let (mut quiet_since, mut is_shown) = ([now; NAMES.len()], [true; NAMES.len()]);
        let mut last_trouble = now;
        for step in steps {
            match step {
                Step::Renewed(which) => {
                    counts[which] += 1;
                    let lease = leases(&counts).swap_remove(which);
                    let is_reported = table.apply(LeaseEvent::Changed(lease), now);
                    prop_assert_eq!(!is_shown[which], is_reported);
                    (quiet_since[which], is_shown[which]) = (now, true);
                }
                Step::Listed => {
                    table.replace(now, now, leases(&counts));
                    for which in 0..NAMES.len() {
                        is_shown[which] &= now < quiet_since[which].max(last_trouble) + TTL;
                    }
                }
                Step::Trouble => {
                    table.record_trouble(now);
                    last_trouble = now;
                }
                Step::Waited(ms) => now += Duration::from_millis(ms),
            }
            let expected: Vec<_> = (0..NAMES.len()).filter(|which| is_shown[*which]).map(|which| NAMES[which]).collect();
            prop_assert_eq!(expected, names(&table));
            // Whoever is shown is checked in time.
            let is_due = |which: &usize| is_shown[*which];
            let first = (0..NAMES.len()).filter(is_due).map(|which| quiet_since[which].max(last_trouble) + TTL).min();
            prop_assert!(first.is_none_or(|first| table.next_listing().is_some_and(|next| next <= first)));
        }
    }
}
