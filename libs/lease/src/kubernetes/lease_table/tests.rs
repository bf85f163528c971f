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
    let late = start + TTL + Duration::from_millis(900);
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

/// The name of the Lease on which one depends that depended on this one so far.
fn owner_of(table: &LeaseTable, before: Option<&str>, now: Instant) -> Option<String> {
    let owner = before.map(|uid| LeaseOwner { name: "signalbox".to_owned(), uid: uid.to_owned() });
    let lease = Lease { owner, ..Lease::default() };
    table.owner_of(&lease, now).map(|owner| owner.uid)
}

#[test]
fn lease_of_the_installation_is_remembered_for_a_minute_after_its_deletion() {
    let installed =
        |uid: &str| Lease { name: "signalbox".to_owned(), uid: uid.to_owned(), ..Lease::default() };
    let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
    let mut table = LeaseTable::new("signalbox");
    let mut now = Instant::now();
    // Before the first listing, nothing is known.
    assert_eq!((None, Some("x".to_owned())), (owner_of(&table, None, now), owner_of(&table, Some("x"), now)));
    table.replace(now, now, vec![installed("u")]);
    assert_eq!(Some("u".to_owned()), owner_of(&table, None, now + minute));
    for is_reported in [true, false] {
        now += minute;
        match is_reported {
            true => drop(table.apply(LeaseEvent::Deleted(installed("u")), now)),
            false => table.replace(now, now, vec![]),
        }
        // Seeing again that it is gone changes nothing.
        table.replace(now + second, now + second, vec![]);
        assert_eq!(Some("u".to_owned()), owner_of(&table, None, now + minute - second));
        assert_eq!(None, owner_of(&table, Some("u"), now + minute));
        table.apply(LeaseEvent::Changed(installed("v")), now + minute);
        assert_eq!(Some("v".to_owned()), owner_of(&table, Some("u"), now + minute * 9));
        table.apply(LeaseEvent::Changed(installed("u")), now + minute);
    }
}

#[test]
fn older_leases_are_made_to_depend_on_the_lease_of_the_installation() {
    let (mut table, start) = listed(&[member("a", "1", 1), member("dead", "1", 1), owned_by("a", "1")]);
    let orphans = |table: &LeaseTable| -> Vec<_> {
        let orphans = table.orphans().into_iter();
        orphans.map(|lease| (lease.name, lease.owner.expect("it has an owner").uid)).collect()
    };
    assert!(orphans(&table).is_empty());
    let installed = Lease { name: "signalbox".to_owned(), uid: "u".to_owned(), ..Lease::default() };
    assert!(table.apply(LeaseEvent::Changed(installed.clone()), start));
    let owner = || "u".to_owned();
    assert_eq!(vec![("pool".to_owned(), owner())], orphans(&table));
    let adopted = table.orphans().remove(0);
    table.apply(LeaseEvent::Changed(adopted.clone()), start);
    assert!(orphans(&table).is_empty());
    let alive = member("a", "1", 2);
    table.replace(start + TTL, start + TTL, vec![installed.clone(), alive, member("dead", "1", 1), adopted]);
    assert_eq!(vec![("dead".to_owned(), owner())], orphans(&table));
    table.apply(LeaseEvent::Deleted(installed), start + TTL);
    assert!(orphans(&table).is_empty());
}

#[test]
fn foreign_owners_stay() {
    let (table, start) = listed(&[]);
    let owner = Some(LeaseOwner { name: "other".to_owned(), uid: "o".to_owned() });
    let lease = Lease { owner: owner.clone(), ..Lease::default() };
    assert_eq!(owner, table.owner_of(&lease, start + Duration::from_secs(3_600)));
}

#[test]
fn slow_answers_expire_nobody_who_is_alive_and_everybody_who_is_dead() {
    let (mut table, start) = listed(&[member("a", "1", 0), member("dead", "1", 0)]);
    // Each request takes 3 s, so "a" is renewed that often.
    let (delay, mut last) = (Duration::from_secs(3), Duration::ZERO);
    let mut counted = 0;
    while names(&table).len() == 2 {
        assert!(last < Duration::from_secs(60), "the dead member expires");
        counted += 1;
        last += delay;
        table.record_answer(delay);
        table.apply(LeaseEvent::Changed(member("a", "1", counted)), start + last);
        let requested = table.next_listing().expect("members expire").max(start + last);
        let leases = vec![member("a", "1", counted), member("dead", "1", 0)];
        table.replace(requested, requested + delay, leases);
        last = requested + delay - start;
    }
    assert_eq!(vec!["a"], names(&table));
    assert!(last <= TTL + delay * 2, "{last:?}");
}

#[test]
fn renewal_may_be_late_by_as_long_as_renewals_take() {
    let leases = [member("a", "1", 1)];
    let (mut table, start) = listed(&leases);
    let usual = TTL / 2;
    table.record_answer(usual);
    let due = start + TTL + usual;
    assert_eq!(Some(due), table.next_listing());
    let before = due - Duration::from_millis(1);
    table.replace(before, before, leases.to_vec());
    assert_eq!(vec!["a"], names(&table));
    table.replace(due, due, leases.to_vec());
    assert!(names(&table).is_empty());
}

#[test]
fn nobody_expires_while_a_request_takes_longer_than_expected() {
    let leases = [member("a", "1", 1)];
    let (mut table, start) = listed(&leases);
    let second = Duration::from_secs(1);
    table.begin_overdue(start + second);
    let late = start + TTL * 3;
    table.replace(late, late, leases.to_vec());
    assert_eq!(vec!["a"], names(&table));
    table.end_overdue(late + second);
    assert_eq!(Some(late + second + TTL), table.next_listing());
    // So is a listing that took long itself.
    let requested = late + second + TTL;
    table.replace(requested, requested + second * 2, leases.to_vec());
    assert_eq!(vec!["a"], names(&table));
    let requested = requested + second * 2 + TTL;
    table.replace(requested, requested, leases.to_vec());
    assert!(names(&table).is_empty());
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
