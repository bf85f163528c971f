//! `docs/INVARIANTS.md` and the code name the same.

use std::collections::BTreeSet;

use signalbox_sim::Invariant;

#[test]
fn every_invariant_is_in_the_document_and_no_other() {
    let document = include_str!("../../../docs/INVARIANTS.md");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let documented: Vec<&str> = rows.map(|(name, _)| name).collect();
    let named: BTreeSet<&str> = Invariant::ALL.iter().map(|invariant| invariant.name()).collect();
    assert_eq!(named.len(), Invariant::ALL.len(), "two invariants have one name");
    assert_eq!(named, documented.iter().copied().collect());
    assert_eq!(named.len(), documented.len(), "a row comes twice");
}
