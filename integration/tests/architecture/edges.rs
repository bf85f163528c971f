//! Who imports whom.

use std::collections::BTreeSet;

use crate::table::{ONLY, Row, TABLE, forbidden};
use crate::workspace::{Import, Origin, Package, Purpose, packages};

const TABLE_FILE: &str = "integration/tests/architecture/table.rs";

fn row_of(package: &Package) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.name == package.name)
}

fn pairs() -> Vec<(Package, Option<&'static Row>)> {
    let with_row = |package: Package| {
        let row = row_of(&package);
        (package, row)
    };
    packages().into_iter().map(with_row).collect()
}

/// Fails with all problems at once.
fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn every_crate_has_a_row_and_every_row_a_crate() {
    let crates: BTreeSet<String> = packages().into_iter().map(|package| package.name).collect();
    let rows: BTreeSet<String> = TABLE.iter().map(|row| row.name.to_owned()).collect();
    let missing = crates.difference(&rows).map(|name| {
        format!(
            "{name} is new: give it a row in {TABLE_FILE} that says what it is and which crates it may import"
        )
    });
    let stale =
        rows.difference(&crates).map(|name| format!("{name} is gone: remove its row from {TABLE_FILE}"));
    assert_none(&missing.chain(stale).collect::<Vec<_>>());
}

#[test]
fn crates_import_only_the_crates_of_the_workspace_that_their_rows_allow() {
    let mut problems = Vec::new();
    for (package, row) in pairs() {
        let Some(row) = row else { continue };
        let inside = package.imports.iter().filter(|import| import.from == Origin::Workspace);
        for import in inside.filter(|import| !is_allowed(row, import)) {
            let (importer, imported) = (row.name, &import.name);
            problems.push(format!("{importer} must not import {imported} (see its row in {TABLE_FILE})"));
        }
    }
    assert_none(&problems);
}

fn is_allowed(row: &Row, import: &Import) -> bool {
    row.imports.contains(&import.name.as_str())
}

#[test]
fn crates_import_nothing_from_outside_that_their_kind_forbids() {
    let mut problems = Vec::new();
    for (package, row) in pairs() {
        let Some(row) = row else { continue };
        let forbidden = forbidden(row.kind);
        let product = package.imports.iter().filter(|import| import.purpose == Purpose::Product);
        for import in product.filter(|import| forbidden.contains(&import.name.as_str())) {
            problems.push(format!("{} is {:?} and must not import {}", row.name, row.kind, import.name));
        }
    }
    assert_none(&problems);
}

#[test]
fn what_is_for_a_few_is_imported_by_nobody_else() {
    let mut problems = Vec::new();
    for package in packages() {
        let product = package.imports.iter();
        let outside =
            product.filter(|import| import.purpose == Purpose::Product && import.from == Origin::ThirdParty);
        for import in outside {
            let rule = ONLY.iter().find(|(pattern, _)| stands_for(pattern, &import.name));
            if let Some((_, few)) = rule.filter(|(_, few)| !few.contains(&package.name.as_str())) {
                problems.push(format!("{} must not import {}, only {few:?} may", package.name, import.name));
            }
        }
    }
    assert_none(&problems);
}

fn stands_for(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    }
}

#[test]
fn the_table_has_no_circle() {
    let mut placed: BTreeSet<&str> = BTreeSet::new();
    while placed.len() < TABLE.len() {
        let before = placed.len();
        let ready = TABLE.iter().filter(|row| row.imports.iter().all(|name| placed.contains(name)));
        let ready: Vec<&str> = ready.map(|row| row.name).collect();
        placed.extend(ready);
        assert!(placed.len() > before, "the rows not in {placed:?} import each other, or what has no row");
    }
}
