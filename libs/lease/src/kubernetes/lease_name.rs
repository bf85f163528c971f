//! Names of Lease objects.

use signalbox_types::PoolId;
use xxhash_rust::xxh3::xxh3_128;

use crate::membership::Role;

/// The longest name of an object.
const MAX_NAME: usize = 253;

/// Returns the name of a member's Lease, unique among the installation's Leases.
pub(super) fn of_member(installation: &str, role: Role, name: &str) -> String {
    object_name(installation, role.name(), &[name])
}

/// Returns the name of a pool's Lease, unique among the installation's Leases.
pub(super) fn of_pool(installation: &str, pool: &PoolId) -> String {
    object_name(installation, "pool", &[&pool.namespace, &pool.name])
}

/// Returns `INSTALLATION.KIND.PARTS`. If that is not a valid name, or could be that of other parts, the parts
/// are shortened and a hash of them follows; the kind then is another one, so that no name in full is equal.
fn object_name(installation: &str, kind: &str, parts: &[&str]) -> String {
    let full = format!("{installation}.{kind}.{}", parts.join("."));
    // Dots separate the parts, so only the last one may have any.
    let is_unambiguous = parts.split_last().is_some_and(|(_, first)| first.iter().all(|p| !p.contains('.')));
    if is_unambiguous && full.len() <= MAX_NAME && full.split('.').all(is_label) {
        return full;
    }
    let start = format!("{installation}.{kind}-hash.");
    let hash = format!("{:032x}", xxh3_128(parts.join("/").as_bytes()));
    let legible: String = parts.join("-").chars().filter_map(legible_char).collect();
    let room = MAX_NAME.saturating_sub(start.len() + 1 + hash.len()).min(MAX_LABEL - 1 - hash.len());
    match legible.chars().take(room).collect::<String>().trim_matches('-') {
        "" => format!("{start}{hash}"),
        legible => format!("{start}{legible}-{hash}"),
    }
}

/// The longest part of a name between dots.
const MAX_LABEL: usize = 63;

/// Returns whether `text` is valid between the dots of an object's name.
pub(crate) fn is_label(text: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=MAX_LABEL).contains(&text.len())
        && text.chars().all(is_inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn legible_char(c: char) -> Option<char> {
    match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '-') => Some(c),
        '.' | '_' | '/' | ':' => Some('-'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    fn pool(namespace: &str, name: &str) -> PoolId {
        PoolId { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn ordinary_names_are_legible() {
        assert_eq!("signalbox.pool.ml.llama.v2", of_pool("signalbox", &pool("ml", "llama.v2")));
        assert_eq!("a.aggregator.agg-0", of_member("a", Role::Aggregator, "agg-0"));
        let hashed = of_pool("signalbox", &pool("ML", "Llama 3"));
        assert!(hashed.starts_with("signalbox.pool-hash.ml-llama3-"), "{hashed}");
    }

    #[test]
    fn names_differ_where_pools_do() {
        let long = "x".repeat(300);
        let pools = [
            pool("a", "b.c"),
            pool("a.b", "c"),
            pool("a-b", "c"),
            pool("a", "b-c"),
            pool("A", "b-c"),
            pool("a", &long),
            pool("a", &format!("{long}y")),
            pool("", ""),
            pool("ä", "ö"),
            pool("ö", "ä"),
        ];
        let names: BTreeMap<String, &PoolId> =
            pools.iter().map(|pool| (of_pool("signalbox", pool), pool)).collect();
        assert_eq!(pools.len(), names.len(), "{names:?}");
    }

    proptest! {
        #[test]
        fn names_are_valid(namespace in ".{0,80}", name in ".{0,300}", installation in "[a-z]{1,63}") {
            let object = of_pool(&installation, &pool(&namespace, &name));
            prop_assert!(object.len() <= MAX_NAME && object.split('.').all(is_label), "{object}");
        }
    }
}
