//! Reads YAML files strictly: reports every problem at once, each with its line, its path and how to fix it.
//!
//! [`read_tree`] parses a text with one document into a tree of [`Node`]s that know their lines;
//! [`read_trees`] parses a text with any number of documents. JSON is accepted, because it is YAML too;
//! [`Node::from_json`] takes JSON that is parsed already.
//! [`Located`] and [`Fields`] read the tree against a schema and collect [`Problems`]. [`read_file`] does the
//! IO.

mod fields;
mod file;
mod json;
mod node;
mod parser;
mod path;
mod problem;
mod quote;
mod scalar;
mod suggestion;
mod time;

pub use fields::{Fields, Located};
pub use file::{MAX_FILE_BYTES, ReadError, parse_bytes, read_bytes, read_file, read_from};
pub use node::{Entry, Node, Value};
pub use parser::{read_tree, read_trees};
pub use path::{item_path, member_path};
pub use problem::{FileErrors, Problem, Problems};
pub use quote::{quoted, shortened};
pub use scalar::{Kind, Style};
pub use suggestion::closest_match;
