//! The nodes of a parsed YAML document.

use crate::scalar::{Kind, Style};

/// A value and the line on which it begins.
#[derive(Debug)]
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

    /// Returns whether the value is null: empty, `~` or `null`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, style } if Kind::of(text, *style) == Kind::Null)
    }
}

/// The value of a node.
#[derive(Debug)]
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
#[derive(Debug)]
pub struct Entry {
    /// Key of the member.
    pub key: String,
    /// Line of the key, counted from 1.
    pub line: usize,
    /// Value of the member.
    pub value: Node,
}
