//! What the Leases of members and pools contain.

use std::time::{Duration, SystemTime};

use signalbox_kube::Lease;
use signalbox_types::{PeerAddress, PoolId};

use crate::membership::{Member, Role};
use crate::ownership::Owner;

/// Label of all Leases of an installation. Its value is the installation's name.
pub(super) const INSTALLATION_LABEL: &str = "signalbox.dev/installation";

const ROLE: &str = "signalbox.dev/role";
const ADDRESS: &str = "signalbox.dev/address";
const RUN: &str = "signalbox.dev/run";
const POOL: &str = "signalbox.dev/pool";
const EPOCH: &str = "signalbox.dev/epoch";
pub(super) const SIGNAL: &str = "signalbox.dev/signal";

/// Time to live of a member whose Lease does not say it.
pub(super) const DEFAULT_TTL: Duration = Duration::from_secs(6);

/// One run of a member, from its start to its exit. A process that was restarted under the same name is
/// another run, and does not own what the earlier one owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MemberRun {
    /// The member's name.
    pub(super) name: String,
    /// A random number in hexadecimal.
    pub(super) id: String,
}

/// Who owns a pool, as its Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ownership {
    pub(super) pool: PoolId,
    /// The owner and its run; `None` after a release.
    pub(super) owner: Option<(Owner, MemberRun)>,
    /// The last epoch, which outlives the pool's owners.
    pub(super) epoch: Option<u64>,
}

/// Returns how long a member is valid after a renewal.
pub(super) fn ttl(lease: &Lease) -> Duration {
    lease.duration.filter(|ttl| !ttl.is_zero()).unwrap_or(DEFAULT_TTL)
}

/// Returns the run that holds a Lease.
pub(super) fn run(lease: &Lease) -> Option<MemberRun> {
    Some(MemberRun { name: lease.holder.clone()?, id: lease.annotations.get(RUN)?.clone() })
}

/// Reads the Lease of a member. Returns `None` for one that Signalbox did not write.
pub(super) fn read_member(lease: &Lease) -> Option<(Member, MemberRun)> {
    let role = Role::from_name(lease.annotations.get(ROLE)?)?;
    let address = lease.annotations.get(ADDRESS).map(|address| address.parse()).transpose().ok()?;
    let run = run(lease)?;
    Some((Member { role, name: run.name.clone(), address }, run))
}

/// Writes a member's registration into its Lease, which is new or was read.
pub(super) fn write_member(lease: &mut Lease, member: &Member, run: &MemberRun, ttl: Duration) {
    set_holder(lease, run, member.address.as_ref());
    lease.duration = Some(ttl);
    lease.annotations.insert(ROLE.to_owned(), member.role.name().to_owned());
}

/// Reads the Lease of a pool. Returns `None` for one that Signalbox did not write.
pub(super) fn read_ownership(lease: &Lease) -> Option<Ownership> {
    let pool = lease.annotations.get(POOL)?.parse().ok()?;
    let epoch = lease.annotations.get(EPOCH).and_then(|epoch| epoch.parse().ok());
    let owner = run(lease).and_then(|run| {
        let address = lease.annotations.get(ADDRESS)?.parse().ok()?;
        Some((Owner { name: run.name.clone(), address, epoch: epoch? }, run))
    });
    Some(Ownership { pool, owner, epoch })
}

/// Writes a pool's new owner into its Lease, which is new or was read.
pub(super) fn write_owner(lease: &mut Lease, owner: &Owner, run: &MemberRun) {
    set_holder(lease, run, Some(&owner.address));
    lease.annotations.insert(EPOCH.to_owned(), owner.epoch.to_string());
}

/// Removes the owner from a pool's Lease. The epoch stays.
pub(super) fn remove_owner(lease: &mut Lease) {
    (lease.holder, lease.acquired) = (None, None);
    lease.renewed = Some(SystemTime::now());
    lease.annotations.remove(RUN);
    lease.annotations.remove(ADDRESS);
}

/// Returns a Lease that belongs to `pool` and does not exist yet.
pub(super) fn new_pool_lease(name: String, pool: &PoolId) -> Lease {
    let annotations = [(POOL.to_owned(), pool.to_string())].into();
    Lease { name, annotations, ..Lease::default() }
}

/// Returns the pool that a Lease belongs to, as text.
pub(super) fn pool_of(lease: &Lease) -> Option<&str> {
    lease.annotations.get(POOL).map(String::as_str)
}

fn set_holder(lease: &mut Lease, holder: &MemberRun, address: Option<&PeerAddress>) {
    let now = SystemTime::now();
    if run(lease).as_ref() != Some(holder) {
        lease.transitions += u32::from(!lease.resource_version.is_empty());
        lease.acquired = Some(now);
    }
    lease.holder = Some(holder.name.clone());
    lease.renewed = Some(now);
    lease.annotations.insert(RUN.to_owned(), holder.id.clone());
    match address {
        Some(address) => lease.annotations.insert(ADDRESS.to_owned(), address.to_string()),
        None => lease.annotations.remove(ADDRESS),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_of(name: &str, id: &str) -> MemberRun {
        MemberRun { name: name.to_owned(), id: id.to_owned() }
    }

    #[test]
    fn written_members_are_read_and_foreign_leases_are_skipped() {
        let address = Some("10.0.0.1:9200".parse().unwrap());
        let mut member = Member { role: Role::Aggregator, name: "a".to_owned(), address };
        let mut lease = Lease::default();
        for _ in 0..2 {
            write_member(&mut lease, &member, &run_of("a", "1"), Duration::from_secs(6));
            assert_eq!(Some((member.clone(), run_of("a", "1"))), read_member(&lease));
            member.address = None;
        }
        assert_eq!(Duration::from_secs(6), ttl(&lease));
        assert_eq!(None, read_ownership(&lease));
        assert_eq!(
            None,
            read_member(&Lease { holder: Some("kube-scheduler".to_owned()), ..Lease::default() })
        );
    }

    #[test]
    fn epoch_and_signal_outlive_the_owner() {
        let pool = PoolId { namespace: "n".to_owned(), name: "p".to_owned() };
        let owner = Owner { name: "a".to_owned(), address: "a:1".parse().unwrap(), epoch: 7 };
        let mut lease = new_pool_lease("x".to_owned(), &pool);
        assert_eq!(Some(Ownership { pool: pool.clone(), owner: None, epoch: None }), read_ownership(&lease));
        lease.annotations.insert(SIGNAL.to_owned(), "s".to_owned());
        write_owner(&mut lease, &owner, &run_of("a", "1"));
        let owned = Ownership { pool: pool.clone(), owner: Some((owner, run_of("a", "1"))), epoch: Some(7) };
        assert_eq!(Some(owned), read_ownership(&lease));
        assert_eq!(None, read_member(&lease));
        remove_owner(&mut lease);
        assert_eq!(Some(Ownership { pool, owner: None, epoch: Some(7) }), read_ownership(&lease));
        assert!(lease.annotations.contains_key(SIGNAL));
    }

    #[test]
    fn transitions_count_changes_of_the_holder() {
        let member = Member { role: Role::Aggregator, name: "a".to_owned(), address: None };
        let mut lease = Lease::default();
        let mut write = |run: &str| {
            write_member(&mut lease, &member, &run_of("a", run), Duration::from_secs(6));
            lease.resource_version = "1".to_owned();
            (lease.transitions, lease.acquired)
        };
        let first = write("1");
        assert_eq!((0, first), (first.0, write("1")));
        assert_eq!(1, write("2").0);
    }
}
