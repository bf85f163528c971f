//! Compares the invariants of `docs/INVARIANTS.md` with those of the code.

use std::collections::BTreeSet;

use signalbox_sim::Invariant;

#[test]
fn document_and_code_name_the_same_invariants() {
    let document = include_str!("../../../docs/INVARIANTS.md");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let documented: Vec<&str> = rows.map(|(name, _)| name).collect();
    let named: BTreeSet<&str> = Invariant::ALL.iter().map(|invariant| invariant.name()).collect();
    assert_eq!(named.len(), Invariant::ALL.len(), "two invariants have the same name");
    assert_eq!(named, documented.iter().copied().collect());
    assert_eq!(named.len(), documented.len(), "the document lists an invariant twice");
}
