//! Parses YAML text into a tree of nodes that know their lines.
//!
//! The parser works on events instead of a finished tree. So it knows both lines of a repeated key, and it
//! bounds the cost of aliases and of deep nesting.

mod anchors;
mod merge;

use std::collections::HashMap;
use std::ops::ControlFlow;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Tag};

use self::anchors::Anchors;
use self::merge::{MERGE_KEY, merge};
use crate::node::{Entry, Node, Value};
use crate::path::{item_path, member_path};
use crate::problem::Problems;
use crate::quote::quoted;
use crate::scalar::Style;

/// Maximum nesting depth: far more than any schema needs, and far less than would overflow the stack.
const MAX_DEPTH: usize = 32;

/// Returns the root of the single document in `text`. The root of an empty text is null. A second document is
/// reported; the message names the expected `kind`. Returns `None` when the text is not valid YAML, which is
/// reported like everything else.
pub fn read_tree(text: &str, kind: &str, problems: &mut Problems) -> Option<Node> {
    match read(text, Documents::One { kind }, problems) {
        Read::Complete(roots) => Some(roots.into_iter().next().unwrap_or_else(Node::empty)),
        Read::Partial(_) => None,
    }
}

/// Returns the roots of all documents in `text`, without those that are null. When no other is left, returns
/// one null root. When the text is not valid YAML, which is reported like everything else, returns the roots
/// of the documents before the error, if any.
pub fn read_trees(text: &str, problems: &mut Problems) -> Vec<Node> {
    let (mut roots, fallback) = match read(text, Documents::Many, problems) {
        Read::Complete(roots) => (roots, Some(Node::empty())),
        Read::Partial(roots) => (roots, None),
    };
    roots.retain(|root| !root.is_null());
    if roots.is_empty() { fallback.into_iter().collect() } else { roots }
}

/// How many documents a text is allowed to have.
#[derive(Clone, Copy)]
enum Documents<'a> {
    /// One document of this kind.
    One { kind: &'a str },
    /// Any number of documents.
    Many,
}

/// The roots of the documents that were parsed.
enum Read {
    /// All documents were parsed.
    Complete(Vec<Node>),
    /// Parsing stopped at a reported problem after these documents.
    Partial(Vec<Node>),
}

fn read(text: &str, documents: Documents<'_>, problems: &mut Problems) -> Read {
    let mut parser = Parser::new_from_str(text);
    let anchors = Anchors::default();
    let mut builder = Builder { documents, problems, open: Vec::new(), roots: Vec::new(), anchors };
    while let Some(next) = parser.next_event() {
        match next {
            Ok((event, span)) => {
                if builder.handle(event, span.start.line()).is_break() {
                    break;
                }
            }
            Err(error) => {
                report_syntax(&error, builder.problems);
                return Read::Partial(builder.roots);
            }
        }
    }
    if builder.open.is_empty() { Read::Complete(builder.roots) } else { Read::Partial(builder.roots) }
}

fn report_syntax(error: &ScanError, problems: &mut Problems) {
    let (line, column) = (error.marker().line(), error.marker().col() + 1);
    problems.add(line, "", format!("invalid YAML at column {column}: {}", error.info()));
}

/// A list or mapping whose end was not read yet.
struct OpenCollection {
    path: String,
    line: usize,
    /// Number of the anchor that aliases refer to; 0 without one.
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, merged: Vec<Node>, lines: HashMap<String, usize>, key: Option<Key> },
}

/// A key whose value was not read yet.
enum Key {
    Valid {
        name: String,
        line: usize,
    },
    /// `<<`: the members of the value, or of the mappings in it, are added to this mapping.
    Merge,
    /// The key was reported. Its value is dropped.
    Invalid,
}

struct Builder<'a> {
    documents: Documents<'a>,
    problems: &'a mut Problems,
    open: Vec<OpenCollection>,
    roots: Vec<Node>,
    anchors: Anchors,
}

impl Builder<'_> {
    fn handle(&mut self, event: Event<'_>, line: usize) -> ControlFlow<()> {
        match event {
            Event::DocumentStart(_)
                if let Documents::One { kind } = self.documents
                    && !self.roots.is_empty() =>
            {
                let message = format!("a second document begins; write only one document, of kind {kind}");
                self.problems.add(line, "", message);
                return ControlFlow::Break(());
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let style = if plain { Style::Plain } else { Style::Text };
                self.check_tag(tag.as_deref(), line);
                let node = Node { line, value: Value::Scalar { text: text.into_owned(), style } };
                return self.keep_and_place(anchor, node);
            }
            Event::SequenceStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), line);
                return self.open_collection(line, anchor, Content::List(Vec::new()));
            }
            Event::MappingStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), line);
                let content = Content::Map {
                    entries: Vec::new(),
                    merged: Vec::new(),
                    lines: HashMap::new(),
                    key: None,
                };
                return self.open_collection(line, anchor, content);
            }
            Event::SequenceEnd | Event::MappingEnd => return self.close_collection(),
            Event::Alias(anchor) => return self.resolve(anchor, line),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
        }
        ControlFlow::Continue(())
    }

    /// Places a copy of the node that the alias on `line` refers to.
    fn resolve(&mut self, anchor: usize, line: usize) -> ControlFlow<()> {
        match self.anchors.copy(anchor, MAX_DEPTH - self.open.len()) {
            Ok(node) => {
                self.place(node);
                ControlFlow::Continue(())
            }
            Err(message) => self.give_up(line, message),
        }
    }

    /// Places a complete `node`, which has this anchor; 0 is none.
    fn keep_and_place(&mut self, anchor: usize, node: Node) -> ControlFlow<()> {
        if let Err(message) = self.anchors.keep(anchor, &node) {
            return self.give_up(node.line, message);
        }
        self.place(node);
        ControlFlow::Continue(())
    }

    /// Reports a problem of the node that is read next, and ends the parsing.
    fn give_up(&mut self, line: usize, message: impl Into<String>) -> ControlFlow<()> {
        let path = self.next_path();
        self.problems.add(line, path, message);
        ControlFlow::Break(())
    }

    fn check_tag(&mut self, tag: Option<&Tag>, line: usize) {
        let Some(tag) = tag else { return };
        let shown = match tag.is_yaml_core_schema() {
            true if tag.suffix == "str" => return,
            true => format!("!!{}", tag.suffix),
            false => tag.to_string(),
        };
        let path = self.next_path();
        self.problems.add(line, path, format!("the tag {} is not supported; remove it", quoted(&shown)));
    }

    /// Returns the path of the node that is read next.
    fn next_path(&self) -> String {
        match self.open.last() {
            None => String::new(),
            Some(OpenCollection { path, content: Content::List(items), .. }) => item_path(path, items.len()),
            Some(OpenCollection {
                path,
                content: Content::Map { key: Some(Key::Valid { name, .. }), .. },
                ..
            }) => member_path(path, name),
            Some(OpenCollection { path, content: Content::Map { .. }, .. }) => path.clone(),
        }
    }

    fn open_collection(&mut self, line: usize, anchor: usize, content: Content) -> ControlFlow<()> {
        if self.open.len() == MAX_DEPTH {
            return self
                .give_up(line, format!("nested deeper than {MAX_DEPTH} levels; flatten the document"));
        }
        let path = self.next_path();
        self.open.push(OpenCollection { path, line, anchor, content });
        ControlFlow::Continue(())
    }

    fn close_collection(&mut self) -> ControlFlow<()> {
        let Some(OpenCollection { path, line, anchor, content }) = self.open.pop() else {
            return ControlFlow::Continue(());
        };
        let value = match content {
            Content::List(items) => Value::List(items),
            Content::Map { mut entries, merged, lines, .. } => {
                merge(&mut entries, merged, lines, &path, self.problems);
                Value::Map(entries)
            }
        };
        let node = Node { line, value };
        self.keep_and_place(anchor, node)
    }

    /// Adds a complete `node`: as a root, an item, a key or the value of a key.
    fn place(&mut self, node: Node) {
        let Some(OpenCollection { path, content, .. }) = self.open.last_mut() else {
            self.roots.push(node);
            return;
        };
        match content {
            Content::List(items) => items.push(node),
            Content::Map { entries, merged, lines, key } => match key.take() {
                None => *key = Some(key_of(node, path, lines, self.problems)),
                Some(Key::Valid { name, line }) => entries.push(Entry { key: name, line, value: node }),
                Some(Key::Merge) => merged.push(node),
                Some(Key::Invalid) => {}
            },
        }
    }
}

/// Returns `node` as a key of the mapping at `path`. `lines` has the lines of the keys read so far.
fn key_of(node: Node, path: &str, lines: &mut HashMap<String, usize>, problems: &mut Problems) -> Key {
    let line = node.line;
    match node.value {
        Value::Scalar { text, style } => match lines.get(&text) {
            None if text == MERGE_KEY && style == Style::Plain => {
                lines.insert(text, line);
                Key::Merge
            }
            None => {
                lines.insert(text.clone(), line);
                Key::Valid { name: text, line }
            }
            Some(first) => {
                problems.add(
                    line,
                    member_path(path, &text),
                    format!("given twice, first on line {first}; keep one"),
                );
                Key::Invalid
            }
        },
        Value::List(_) | Value::Map(_) => {
            problems.add(line, path, "a key must be text, not a list or a mapping");
            Key::Invalid
        }
        Value::Invalid => Key::Invalid,
    }
}
