//! Which crate imports which.

use std::collections::BTreeSet;

use crate::table::{ONLY, Row, TABLE, forbidden};
use crate::workspace::{Import, Origin, Package, Purpose, assert_none, packages};

const TABLE_FILE: &str = "integration/tests/architecture/table.rs";

fn row_of(package: &Package) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.name == package.name)
}

fn packages_with_rows() -> Vec<(Package, &'static Row)> {
    packages().into_iter().filter_map(|package| row_of(&package).map(|row| (package, row))).collect()
}

#[test]
fn every_crate_has_a_row_and_every_row_a_crate() {
    let crates: BTreeSet<String> = packages().into_iter().map(|package| package.name).collect();
    let rows: BTreeSet<String> = TABLE.iter().map(|row| row.name.to_owned()).collect();
    let missing = crates.difference(&rows).map(|name| {
        format!("crate {name} has no row: add one to {TABLE_FILE} with its kind and the crates it may import")
    });
    let stale = rows
        .difference(&crates)
        .map(|name| format!("crate {name} is gone: remove its row from {TABLE_FILE}"));
    assert_none(&missing.chain(stale).collect::<Vec<_>>());
}

#[test]
fn crates_import_only_the_workspace_crates_that_their_rows_allow() {
    let mut problems = Vec::new();
    for (package, row) in packages_with_rows() {
        let workspace = package.imports.iter().filter(|import| import.from == Origin::Workspace);
        for import in workspace.filter(|import| !is_allowed(row, import)) {
            problems
                .push(format!("{} must not import {} (see its row in {TABLE_FILE})", row.name, import.name));
        }
    }
    assert_none(&problems);
}

fn is_allowed(row: &Row, import: &Import) -> bool {
    row.imports.contains(&import.name.as_str())
}

#[test]
fn crates_import_no_third_party_crate_that_their_kind_forbids() {
    let mut problems = Vec::new();
    for (package, row) in packages_with_rows() {
        let forbidden = forbidden(row.kind);
        let product = package.imports.iter().filter(|import| import.purpose == Purpose::Product);
        for import in product.filter(|import| forbidden.contains(&import.name.as_str())) {
            problems.push(format!("{} is {:?} and must not import {}", row.name, row.kind, import.name));
        }
    }
    assert_none(&problems);
}

#[test]
fn restricted_crates_are_imported_only_by_the_crates_listed_for_them() {
    let mut problems = Vec::new();
    for package in packages() {
        let product = package.imports.iter();
        let third_party =
            product.filter(|import| import.purpose == Purpose::Product && import.from == Origin::ThirdParty);
        for import in third_party {
            let rule = ONLY.iter().find(|(pattern, _)| matches(pattern, &import.name));
            if let Some((_, allowed)) = rule.filter(|(_, allowed)| !allowed.contains(&package.name.as_str()))
            {
                problems
                    .push(format!("{} must not import {}; only {allowed:?} may", package.name, import.name));
            }
        }
    }
    assert_none(&problems);
}

/// Whether `name` matches `pattern`, in which a trailing `*` stands for any ending.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}

#[test]
fn the_table_has_no_import_cycle() {
    let mut placed: BTreeSet<&str> = BTreeSet::new();
    while placed.len() < TABLE.len() {
        let before = placed.len();
        let ready = TABLE.iter().filter(|row| row.imports.iter().all(|name| placed.contains(name)));
        let ready: Vec<&str> = ready.map(|row| row.name).collect();
        placed.extend(ready);
        assert!(placed.len() > before, "rows outside {placed:?} import each other, or a crate without a row");
    }
}
