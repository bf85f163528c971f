//! The nodes of a parsed YAML document.

use crate::scalar::{Kind, Style};

/// A value and the line on which it begins.
#[derive(Clone, Debug)]
pub struct Node {
    /// Line of the value, counted from 1.
    pub line: usize,
    /// The value.
    pub value: Value,
}

impl Node {
    /// The content of an empty document: null, on line 1.
    pub(crate) fn empty() -> Self {
        Self { line: 1, value: Value::Scalar { text: String::new(), style: Style::Plain } }
    }

    /// Returns the number of nodes in the tree below this one, itself included, and its depth: 1 for a scalar.
    pub(crate) fn size(&self) -> (usize, usize) {
        let add = |(count, depth): (usize, usize), node: &Self| {
            let (nodes, levels) = node.size();
            (count + nodes, depth.max(levels + 1))
        };
        match &self.value {
            Value::List(items) => items.iter().fold((1, 1), add),
            Value::Map(entries) => entries.iter().map(|entry| &entry.value).fold((1, 1), add),
            Value::Scalar { .. } | Value::Invalid => (1, 1),
        }
    }

    /// Returns whether the value is null: empty, `~` or `null`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, style } if Kind::of(text, *style) == Kind::Null)
    }
}

/// The value of a node.
#[derive(Clone, Debug)]
pub enum Value {
    /// A scalar. A plain one can also be a number, a boolean or null; see [`Kind`].
    Scalar {
        /// Text as written, without quotes.
        text: String,
        /// How the scalar is written.
        style: Style,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping. Its keys are unique.
    Map(Vec<Entry>),
    /// A value that was rejected. The problem is already reported.
    Invalid,
}

/// One member of a mapping.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Key of the member.
    pub key: String,
    /// Line of the key, counted from 1.
    pub line: usize,
    /// Value of the member.
    pub value: Node,
}
