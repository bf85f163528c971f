//! Merge keys: `<<: *defaults` adds the members of another mapping.

use std::collections::HashMap;

use crate::node::{Entry, Node, Value};
use crate::path::member_path;
use crate::problem::Problems;

/// The key whose value is merged.
pub(super) const MERGE_KEY: &str = "<<";

/// Adds to the `entries` of the mapping at `path` what the mappings in `merged` have besides. Among these, the first
/// one wins. `lines` has the lines of the mapping's keys.
pub(super) fn merge(
    entries: &mut Vec<Entry>,
    merged: Vec<Node>,
    mut lines: HashMap<String, usize>,
    path: &str,
    problems: &mut Problems,
) {
    for node in merged {
        let mappings = match node.value {
            Value::List(items) => items,
            value => vec![Node { line: node.line, value }],
        };
        for mapping in mappings {
            match mapping.value {
                Value::Map(others) => {
                    for other in others {
                        lines.entry(other.key.clone()).or_insert_with(|| {
                            let line = other.line;
                            entries.push(other);
                            line
                        });
                    }
                }
                Value::Invalid => {}
                Value::Scalar { .. } | Value::List(_) => {
                    let message = "expected a mapping or a list of mappings to merge; write <<: *ANCHOR";
                    problems.add(mapping.line, member_path(path, MERGE_KEY), message);
                }
            }
        }
    }
}
