//! What is kept under which key, and how it is written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use signalbox_types::PoolId;

use crate::{Member, Owner, Role};

/// Everything is below it.
pub(crate) const PREFIX: &str = "/signalbox/v1/";

const MEMBERS: &str = "members/";

/// Keys and values as they are kept.
pub(crate) type Facts = BTreeMap<String, Vec<u8>>;

#[derive(Serialize, Deserialize)]
struct MemberValue {
    address: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct OwnerValue {
    name: String,
    address: String,
    epoch: u64,
}

impl Role {
    pub(crate) const ALL: [Self; 3] = [Self::Aggregator, Self::Collector, Self::Epp];

    fn folder(self) -> &'static str {
        match self {
            Self::Aggregator => "aggregators",
            Self::Collector => "collectors",
            Self::Epp => "epps",
        }
    }
}

pub(crate) fn member_key(role: Role, name: &str) -> String {
    format!("{PREFIX}{MEMBERS}{}/{name}", role.folder())
}

pub(crate) fn is_member(key: &str) -> bool {
    key.strip_prefix(PREFIX).is_some_and(|key| key.starts_with(MEMBERS))
}

pub(crate) fn owner_key(pool: &PoolId) -> String {
    format!("{PREFIX}pools/{pool}/owner")
}

/// The last epoch that was minted for a pool; it outlives its owners.
pub(crate) fn epoch_key(pool: &PoolId) -> String {
    format!("{PREFIX}pools/{pool}/epoch")
}

pub(crate) fn signal_key(pool: &PoolId) -> String {
    format!("{PREFIX}pools/{pool}/signal")
}

pub(crate) fn member_value(member: &Member) -> Vec<u8> {
    let address = member.address.as_ref().map(ToString::to_string);
    serde_json::to_vec(&MemberValue { address }).unwrap_or_default()
}

pub(crate) fn owner_value(owner: &Owner) -> Vec<u8> {
    let Owner { name, address, epoch } = owner;
    let value = OwnerValue { name: name.clone(), address: address.to_string(), epoch: *epoch };
    serde_json::to_vec(&value).unwrap_or_default()
}

/// `None` when somebody else wrote it.
pub(crate) fn owner(value: &[u8]) -> Option<Owner> {
    let OwnerValue { name, address, epoch } = serde_json::from_slice(value).ok()?;
    Some(Owner { name, address: address.parse().ok()?, epoch })
}

pub(crate) fn epoch(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// The members of `role`, by name. Values that somebody else wrote are passed over.
pub(crate) fn members(facts: &Facts, role: Role) -> Vec<Member> {
    let folder = member_key(role, "");
    let entries = facts.range(folder.clone()..).take_while(|(key, _)| key.starts_with(&folder));
    let member = |(key, value): (&String, &Vec<u8>)| {
        let MemberValue { address } = serde_json::from_slice(value).ok()?;
        let address = address.map(|address| address.parse()).transpose().ok()?;
        Some(Member { role, name: key[folder.len()..].to_owned(), address })
    };
    entries.filter_map(member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_others_wrote_is_passed_over() {
        let member = |name: &str| Member {
            role: Role::Aggregator,
            name: name.to_owned(),
            address: Some("10.0.0.1:9200".parse().unwrap()),
        };
        let mut facts = Facts::new();
        for name in ["b", "a"] {
            facts.insert(member_key(Role::Aggregator, name), member_value(&member(name)));
        }
        facts.insert(member_key(Role::Aggregator, "c"), b"nonsense".to_vec());
        facts.insert(member_key(Role::Collector, "d"), b"{\"address\":null}".to_vec());
        assert_eq!(vec![member("a"), member("b")], members(&facts, Role::Aggregator));
        assert_eq!(None, members(&facts, Role::Collector)[0].address);
        let own = Owner { name: "a".to_owned(), address: "a:1".parse().unwrap(), epoch: 7 };
        assert_eq!(Some(own.clone()), owner(&owner_value(&own)));
        assert_eq!(None, owner(b"nonsense"));
    }
}
