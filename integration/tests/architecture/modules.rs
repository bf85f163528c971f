//! Which module of a crate imports which other module of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use crate::modules_table::{MODULES, Modules};
use crate::source::{Module, module_imports};
use crate::workspace::{Package, assert_none, packages};

const TABLE_FILE: &str = "integration/tests/architecture/modules_table.rs";

type Graph = BTreeMap<Module, BTreeSet<Module>>;

/// The module graph of each crate, by the crate's name.
static GRAPHS: LazyLock<BTreeMap<String, Graph>> = LazyLock::new(|| {
    let graph = |package: Package| (package.name, module_imports(&package.folder.join("src")));
    packages().into_iter().filter(|package| package.folder.join("src").is_dir()).map(graph).collect()
});

#[test]
fn modules_have_no_import_cycle_beyond_a_module_and_its_children() {
    assert!(
        GRAPHS.values().any(|graph| graph.values().any(|imports| !imports.is_empty())),
        "no imports found"
    );
    let problems: Vec<String> = GRAPHS
        .iter()
        .flat_map(|(name, graph)| cycles(graph).into_iter().map(move |cycle| format!("{name}: {cycle}")))
        .collect();
    assert_none(&problems);
}

/// Describes each set of modules that import each other, directly or through others.
fn cycles(graph: &Graph) -> Vec<String> {
    let reachable: BTreeMap<&Module, BTreeSet<&Module>> =
        graph.keys().map(|module| (module, reachable(graph, module))).collect();
    let mut cycles = BTreeSet::new();
    for (module, others) in &reachable {
        let mut cycle: Vec<String> = others
            .iter()
            .filter(|other| reachable[*other].contains(module))
            .map(|other| shown(other))
            .collect();
        if cycle.len() > 1 {
            cycle.sort();
            cycles.insert(format!("these modules import each other: {}", cycle.join(", ")));
        }
    }
    cycles.into_iter().collect()
}

fn reachable<'a>(graph: &'a Graph, from: &'a Module) -> BTreeSet<&'a Module> {
    let (mut found, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(module) = open.pop() {
        for next in graph[module].iter().filter(|next| !is_kin(module, next)) {
            if found.insert(next) {
                open.push(next);
            }
        }
    }
    found
}

/// Whether one of two modules is an ancestor of the other.
fn is_kin(one: &Module, other: &Module) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

fn shown(module: &Module) -> String {
    if module.is_empty() { "the crate root".to_owned() } else { module.join("::") }
}

#[test]
fn top_level_modules_import_only_what_the_table_allows() {
    let mut problems = Vec::new();
    for Modules { name, rows } in MODULES {
        let Some(graph) = GRAPHS.get(*name) else {
            problems.push(format!("crate {name} is gone: remove it from {TABLE_FILE}"));
            continue;
        };
        let edges = top_level_edges(graph);
        let rows: BTreeMap<&str, &[&str]> = rows.iter().copied().collect();
        problems.extend(edges.iter().flat_map(|(module, imports)| match rows.get(module) {
            None => vec![format!("{name}: module {module} has no row in {TABLE_FILE}")],
            Some(allowed) => unlike(name, module, imports, allowed),
        }));
        let gone = rows.keys().filter(|module| !edges.contains_key(**module));
        problems
            .extend(gone.map(|module| format!("{name}: module {module} is gone from {TABLE_FILE}'s crate")));
    }
    assert_none(&problems);
}

/// Describes imports that the table does not allow, and rows that allow more than is used.
fn unlike(name: &str, module: &str, imports: &BTreeSet<&str>, allowed: &[&str]) -> Vec<String> {
    let extra = imports.iter().filter(|import| !allowed.contains(import));
    let extra =
        extra.map(|import| format!("{name}: module {module} must not import {import} (see {TABLE_FILE})"));
    let unused = allowed.iter().filter(|import| !imports.contains(**import));
    let unused =
        unused.map(|import| format!("{name}: module {module} no longer imports {import}: edit {TABLE_FILE}"));
    extra.chain(unused).collect()
}

/// Returns, per top-level module, the other top-level modules that it or one of its children imports.
fn top_level_edges(graph: &Graph) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut edges: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (module, imports) in graph {
        let Some(top) = module.first() else { continue };
        let others = imports.iter().filter_map(|import| import.first()).filter(|other| *other != top);
        edges.entry(top).or_default().extend(others.map(String::as_str));
    }
    edges
}
