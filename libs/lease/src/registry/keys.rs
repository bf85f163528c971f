//! The coordinator's keys and the encoding of their values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use signalbox_types::PoolId;

use crate::membership::{Member, Role};
use crate::ownership::Owner;

/// Common prefix of all keys.
pub(crate) const PREFIX: &str = "/signalbox/v1/";

const MEMBERS: &str = "members/";

/// Keys and their encoded values.
pub(crate) type Entries = BTreeMap<String, Vec<u8>>;

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

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Aggregator => "aggregator",
            Self::Collector => "collector",
            Self::Epp => "epp",
        }
    }

    #[cfg(feature = "kubernetes")]
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

pub(crate) fn member_key(role: Role, name: &str) -> String {
    format!("{PREFIX}{MEMBERS}{}s/{name}", role.name())
}

pub(crate) fn is_member(key: &str) -> bool {
    key.strip_prefix(PREFIX).is_some_and(|key| key.starts_with(MEMBERS))
}

pub(crate) fn owner_key(pool: &PoolId) -> String {
    format!("{PREFIX}pools/{pool}/owner")
}

/// Returns the key of a pool's last epoch, which outlives the pool's owners.
pub(crate) fn epoch_key(pool: &PoolId) -> String {
    format!("{PREFIX}pools/{pool}/epoch")
}

pub(crate) fn signal_key(pool: &PoolId) -> String {
    format!("{PREFIX}pools/{pool}/signal")
}

pub(crate) fn encode_member(member: &Member) -> Vec<u8> {
    let address = member.address.as_ref().map(ToString::to_string);
    serde_json::to_vec(&MemberValue { address }).unwrap_or_default()
}

pub(crate) fn encode_owner(owner: &Owner) -> Vec<u8> {
    let Owner { name, address, epoch } = owner;
    let value = OwnerValue { name: name.clone(), address: address.to_string(), epoch: *epoch };
    serde_json::to_vec(&value).unwrap_or_default()
}

/// Decodes an owner. Returns `None` for a value that Signalbox did not write.
pub(crate) fn decode_owner(value: &[u8]) -> Option<Owner> {
    let OwnerValue { name, address, epoch } = serde_json::from_slice(value).ok()?;
    Some(Owner { name, address: address.parse().ok()?, epoch })
}

pub(crate) fn decode_epoch(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Decodes the members of `role`, sorted by name. Skips values that Signalbox did not write.
pub(crate) fn decode_members(entries: &Entries, role: Role) -> Vec<Member> {
    let folder = member_key(role, "");
    let in_folder = entries.range(folder.clone()..).take_while(|(key, _)| key.starts_with(&folder));
    let member = |(key, value): (&String, &Vec<u8>)| {
        let MemberValue { address } = serde_json::from_slice(value).ok()?;
        let address = address.map(|address| address.parse()).transpose().ok()?;
        Some(Member { role, name: key[folder.len()..].to_owned(), address })
    };
    in_folder.filter_map(member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_values_are_decoded_and_foreign_values_are_skipped() {
        let member = |name: &str| Member {
            role: Role::Aggregator,
            name: name.to_owned(),
            address: Some("10.0.0.1:9200".parse().unwrap()),
        };
        let mut entries = Entries::new();
        for name in ["b", "a"] {
            entries.insert(member_key(Role::Aggregator, name), encode_member(&member(name)));
        }
        entries.insert(member_key(Role::Aggregator, "c"), b"nonsense".to_vec());
        entries.insert(member_key(Role::Collector, "d"), b"{\"address\":null}".to_vec());
        assert_eq!(vec![member("a"), member("b")], decode_members(&entries, Role::Aggregator));
        assert_eq!(None, decode_members(&entries, Role::Collector)[0].address);
        let own = Owner { name: "a".to_owned(), address: "a:1".parse().unwrap(), epoch: 7 };
        assert_eq!(Some(own.clone()), decode_owner(&encode_owner(&own)));
        assert_eq!(None, decode_owner(b"nonsense"));
    }
}
