//! The rights of the aggregators are those that docs/KUBERNETES.md declares.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::render::{NAMESPACE, Rendered, items, repository_file};

/// One right: group, resource and verb.
type Right = (String, String, String);

/// Checks the rights in the watched namespaces, or everywhere if there are none, and in the namespace of the release.
pub(crate) fn check(rendered: &Rendered, watched: &[&str]) -> anyhow::Result<()> {
    let declared = |scope| declared(scope).with_context(|| format!("docs/KUBERNETES.md, scope {scope}"));
    let mut expected: Vec<(Option<&str>, BTreeSet<Right>)> = vec![(Some(NAMESPACE), declared("release")?)];
    let pools = declared("pools")?;
    match watched {
        [] => expected.push((None, pools)),
        _ => expected.extend(watched.iter().map(|namespace| (Some(*namespace), pools.clone()))),
    }
    let roles: Vec<_> = rendered.kind("Role").chain(rendered.kind("ClusterRole")).collect();
    let mut found: Vec<_> =
        roles.iter().map(|role| (role["metadata"]["namespace"].as_str(), rights(role))).collect();
    found.sort();
    expected.sort();
    ensure!(found == expected, "the rights are\n{found:#?}\nbut declared are\n{expected:#?}");
    roles.iter().try_for_each(|role| check_binding(rendered, role))
}

/// Checks that the aggregators have the role, and nobody else.
fn check_binding(rendered: &Rendered, role: &Value) -> anyhow::Result<()> {
    let kind = role["kind"].as_str().context("a role without a kind")?;
    let mut bindings = rendered.0.iter().filter(|object| {
        object["roleRef"]["kind"] == kind
            && object["roleRef"]["name"] == role["metadata"]["name"]
            && object["metadata"]["namespace"] == role["metadata"]["namespace"]
    });
    let (Some(binding), None) = (bindings.next(), bindings.next()) else {
        anyhow::bail!("{} is not bound once", role["metadata"]["name"])
    };
    let [subject] = items(&binding["subjects"]) else { anyhow::bail!("not one subject") };
    ensure!(
        subject["name"] == "signalbox-aggregator" && subject["namespace"] == NAMESPACE,
        "bound to {subject}"
    );
    Ok(())
}

fn rights(role: &Value) -> BTreeSet<Right> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut rights = BTreeSet::new();
    for rule in items(&role["rules"]) {
        for group in items(&rule["apiGroups"]) {
            for resource in items(&rule["resources"]) {
                rights.extend(
                    items(&rule["verbs"]).iter().map(|verb| (text(group), text(resource), text(verb))),
                );
            }
        }
    }
    rights
}

/// Reads the table of rights: scope, group, resource, verbs.
fn declared(scope: &str) -> anyhow::Result<BTreeSet<Right>> {
    let text = repository_file("docs/KUBERNETES.md")?;
    let mut rights = BTreeSet::new();
    for line in text.lines().filter(|line| line.starts_with(&format!("| {scope} |"))) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [_, groups, resource, verbs, _] = cells[..] else { anyhow::bail!("not five columns: {line}") };
        for group in groups.split(", ").map(|group| if group == "core" { "" } else { group }) {
            let rights_of_group =
                verbs.split(", ").map(|verb| (group.to_owned(), resource.to_owned(), verb.to_owned()));
            rights.extend(rights_of_group);
        }
    }
    ensure!(!rights.is_empty(), "no rights are declared");
    Ok(rights)
}
