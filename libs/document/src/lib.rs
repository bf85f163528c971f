//! Strict YAML files: every problem at once, each with its line, its path and how to mend it.
//!
//! [`read_tree`] turns text into a tree of [`Node`]s that know their lines, [`read_trees`] into one for each document; JSON is YAML too.
//! [`Located`] and [`Fields`] walk it as a schema wants it, and collect [`Problems`]; [`read_file`] does the IO.

mod fields;
mod problem;
mod quote;
mod scalar;
mod source;
mod tree;

pub use fields::{Fields, Located};
pub use problem::{FileErrors, Problem, Problems};
pub use quote::{item, member, quoted, shortened, similar};
pub use scalar::Kind;
pub use source::{MAX_FILE_BYTES, ReadError, decode, load, read_file};
pub use tree::{Entry, Node, Style, Value, read_tree, read_trees};
