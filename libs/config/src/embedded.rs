//! Finds configurations inside other YAML: ConfigMaps, Helm values, and arguments of Deployments.

use std::iter::repeat_n;

use signalbox_document::{FileErrors, Node, Problems, Value, item_path, member_path, read_trees};

use crate::diagnostics::Diagnostics;
use crate::top_level::{FIELDS, KIND};
use crate::{Configuration, finish, parse};

/// A configuration in a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    /// Where it is, such as `data["config.yaml"]`; empty if it is the whole text.
    pub path: String,
    /// The configuration, or all its problems. Their lines are those of the whole text, unless
    /// [`Self::has_own_lines`].
    pub read: Result<Configuration, FileErrors>,
    /// Whether lines count from the start of the configuration, because it is written in one quoted or folded piece.
    pub has_own_lines: bool,
}

/// Returns the configurations in `text`: `text` itself, or those in the documents of a manifest or in Helm values, as
/// mappings or as texts.
///
/// # Errors
/// `text` is neither a configuration nor has one in it.
pub fn find(text: &str) -> Result<Vec<Embedded>, FileErrors> {
    let mut around = Problems::default();
    let roots = read_trees(text, &mut around);
    let whole = || Embedded { path: String::new(), read: parse(text), has_own_lines: false };
    if roots.iter().any(is_configuration) {
        return Ok(vec![whole()]);
    }
    let mut search = Search { lines: text.lines().map(str::trim).collect(), found: Vec::new() };
    roots.iter().for_each(|root| search.visit(root, String::new()));
    let mut found = search.found;
    match roots.iter().find(|root| is_manifest(root)) {
        _ if !found.is_empty() => {
            if !around.is_empty() {
                found.push(Embedded { read: Err(FileErrors::from(around)), ..whole() });
            }
            Ok(found)
        }
        Some(manifest) if around.is_empty() => Err(FileErrors::single(
            manifest.line,
            format!(
                "has no {KIND} in it; give the file itself, or a ConfigMap, Helm values or a Deployment with it"
            ),
        )),
        // A text that is no YAML, or no configuration, is reported by the reader of configurations.
        _ => Ok(vec![whole()]),
    }
}

/// Returns whether `node` says that it is a configuration.
fn is_configuration(node: &Node) -> bool {
    matches!(member(node, "kind"), Some(Value::Scalar { text, .. }) if text == KIND)
}

/// Returns whether `node` has nothing of a configuration but may have one in it.
fn is_manifest(node: &Node) -> bool {
    matches!(node.value, Value::Map(_)) && !has_section(node)
}

/// Returns whether `node` has a section that only configurations have.
fn has_section(node: &Node) -> bool {
    ["plugins", "schedulingProfiles"].iter().any(|name| member(node, name).is_some())
}

fn member<'a>(node: &'a Node, key: &str) -> Option<&'a Value> {
    let Value::Map(entries) = &node.value else { return None };
    entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value.value)
}

struct Search<'a> {
    /// The lines of the whole text, without blanks around them.
    lines: Vec<&'a str>,
    found: Vec<Embedded>,
}

impl Search<'_> {
    fn visit(&mut self, node: &Node, path: String) {
        if is_configuration(node) {
            let read = finish(Some(node), Diagnostics::default());
            return self.found.push(Embedded { path, read, has_own_lines: false });
        }
        match &node.value {
            Value::Map(entries) => {
                entries.iter().for_each(|entry| self.visit(&entry.value, member_path(&path, &entry.key)));
            }
            Value::List(items) => {
                items.iter().enumerate().for_each(|(at, item)| self.visit(item, item_path(&path, at)));
            }
            Value::Scalar { text, .. } if is_configuration_text(text) => {
                self.read_text(text, node.line, path)
            }
            Value::Scalar { .. } | Value::Invalid => {}
        }
    }

    /// Reads the configuration in the scalar `text`, which begins on or after `line`.
    fn read_text(&mut self, text: &str, line: usize, path: String) {
        let before = self.lines_before(text, line);
        // Empty lines in front make the lines of problems those of the whole text.
        let padded: String = repeat_n('\n', before.unwrap_or(0)).chain(text.chars()).collect();
        self.found.push(Embedded { path, read: parse(&padded), has_own_lines: before.is_none() });
    }

    /// Returns the number of lines before `text`, if each of its lines is one of the whole text.
    fn lines_before(&self, text: &str, line: usize) -> Option<usize> {
        let own: Vec<_> = text.lines().map(str::trim).collect();
        let is_there = |before: &usize| self.lines.get(*before..).is_some_and(|rest| rest.starts_with(&own));
        // A block begins below the line with its key, and blank lines above its first word belong to it.
        let blank = own.iter().take_while(|line| line.is_empty()).count();
        (line.saturating_sub(1 + blank)..=line).find(is_there)
    }
}

/// Returns whether a text of several lines, or of JSON, is a configuration: its kind says so, or it lacks a kind and has
/// sections of one. Other manifests and prose that only mention one are not. A text that is no YAML is, if it begins with
/// a field of one.
fn is_configuration_text(text: &str) -> bool {
    let may_be = text.contains(['\n', '{']) && text.contains("kind") && text.contains(KIND);
    may_be && {
        let roots = read_trees(text, &mut Problems::default());
        let is_one =
            |root: &Node| is_configuration(root) || (member(root, "kind").is_none() && has_section(root));
        roots.iter().any(is_one) || (roots.is_empty() && begins_with_field(text))
    }
}

/// Returns whether the first line of `text` that says anything is a field of a configuration, in YAML or JSON.
fn begins_with_field(text: &str) -> bool {
    let says_something = |line: &&str| !line.is_empty() && *line != "---" && !line.starts_with('#');
    let first = text.lines().map(str::trim).find(says_something).unwrap_or_default();
    first.starts_with('{') || first.split_once(':').is_some_and(|(key, _)| FIELDS.contains(&key.trim()))
}
