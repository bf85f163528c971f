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

    /// Returns the size of the tree below this node, itself included.
    pub(crate) fn size(&self) -> Size {
        let own = |text: &str| Size { nodes: 1, bytes: size_of::<Self>() + text.len(), depth: 1 };
        match &self.value {
            Value::List(items) => items.iter().fold(own(""), |size, item| size.with(item.size(), "")),
            Value::Map(entries) => {
                entries.iter().fold(own(""), |size, entry| size.with(entry.value.size(), &entry.key))
            }
            Value::Scalar { text, .. } => own(text),
            Value::Invalid => own(""),
        }
    }

    /// Returns whether the value is null: empty, `~` or `null`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, style } if Kind::of(text, *style) == Kind::Null)
    }
}

/// The size of a tree of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Number of nodes.
    pub(crate) nodes: usize,
    /// Memory of the nodes, their keys and their texts, in bytes.
    pub(crate) bytes: usize,
    /// Number of levels: 1 for a scalar.
    pub(crate) depth: usize,
}

impl Size {
    /// Returns the size with another tree one level below, as the member `key` of a mapping or as an item.
    fn with(self, below: Self, key: &str) -> Self {
        Self {
            nodes: self.nodes + below.nodes,
            bytes: self.bytes + key.len() + below.bytes,
            depth: self.depth.max(below.depth + 1),
        }
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
