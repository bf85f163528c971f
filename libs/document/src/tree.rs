//! YAML text as a tree of nodes that know their lines.
//!
//! Reading events rather than a finished tree keeps both lines of a repeated key, and bounds what an alias or a
//! nesting can cost.

use std::collections::HashMap;
use std::ops::ControlFlow;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Tag};

use crate::fields::Located;
use crate::problem::Problems;
use crate::quote::{item, member, quoted};

/// How deep nodes may nest: far more than the schema needs, far less than what a stack cannot bear.
const MAX_DEPTH: usize = 32;

/// A value and the line it begins on, from 1.
#[derive(Debug)]
pub struct Node {
    /// The line.
    pub line: usize,
    /// The value.
    pub value: Value,
}

/// What a node is.
#[derive(Debug)]
pub enum Value {
    /// A scalar; a plain one may mean a number, a boolean or nothing.
    Scalar {
        /// As it is written, without quotes.
        text: String,
        /// How it is written.
        style: Style,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping; no key is there twice.
    Map(Vec<Entry>),
    /// Something that was refused, and is reported already.
    Refused,
}

/// How a scalar was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes.
    Plain,
    /// In quotes, as a block or tagged `!!str`: surely text.
    Text,
}

/// A member of a mapping.
#[derive(Debug)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// The line of the key.
    pub line: usize,
    /// What it is.
    pub value: Node,
}

/// The root of the one document in `text`, which is to be of `kind`; an empty file is one of nothing. `None` when the text is no YAML, which
/// is reported as all else is.
pub fn read_tree(text: &str, kind: &str, problems: &mut Problems) -> Option<Node> {
    match read(text, Documents::One { kind }, problems) {
        Read::Whole(roots) => Some(roots.into_iter().next().unwrap_or_else(nothing)),
        Read::Broken(_) => None,
    }
}

/// The roots of all documents in `text` but those of nothing; an empty file is one of nothing. Where the text is no YAML, which is reported as
/// all else is, they are those before that, if any.
pub fn read_trees(text: &str, problems: &mut Problems) -> Vec<Node> {
    let (mut roots, otherwise) = match read(text, Documents::Many, problems) {
        Read::Whole(roots) => (roots, Some(nothing())),
        Read::Broken(roots) => (roots, None),
    };
    roots.retain(|root| !Located::root(root).is_nothing());
    if roots.is_empty() { otherwise.into_iter().collect() } else { roots }
}

/// How many documents a text may have.
#[derive(Clone, Copy)]
enum Documents<'a> {
    /// One, of this kind.
    One { kind: &'a str },
    /// Any number.
    Many,
}

/// The roots of the documents that were read.
enum Read {
    /// They are all.
    Whole(Vec<Node>),
    /// What comes after them is reported.
    Broken(Vec<Node>),
}

fn read(text: &str, documents: Documents<'_>, problems: &mut Problems) -> Read {
    let mut parser = Parser::new_from_str(text);
    let mut builder = Builder { documents, problems, open: Vec::new(), roots: Vec::new() };
    while let Some(next) = parser.next_event() {
        match next {
            Ok((event, span)) => {
                if builder.take(event, span.start.line()).is_break() {
                    break;
                }
            }
            Err(error) => {
                report_syntax(&error, builder.problems);
                return Read::Broken(builder.roots);
            }
        }
    }
    if builder.open.is_empty() { Read::Whole(builder.roots) } else { Read::Broken(builder.roots) }
}

fn nothing() -> Node {
    Node { line: 1, value: Value::Scalar { text: String::new(), style: Style::Plain } }
}

fn report_syntax(error: &ScanError, problems: &mut Problems) {
    let (line, column) = (error.marker().line(), error.marker().col() + 1);
    problems.add(line, "", format!("not YAML at column {column}: {}", error.info()));
}

/// A collection whose end has not come yet.
struct Open {
    path: String,
    line: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, lines: HashMap<String, usize>, key: Option<Key> },
}

/// A key whose value has not come yet.
enum Key {
    Kept {
        name: String,
        line: usize,
    },
    /// Reported already: the value goes with it.
    Refused,
}

struct Builder<'a> {
    documents: Documents<'a>,
    problems: &'a mut Problems,
    open: Vec<Open>,
    roots: Vec<Node>,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, line: usize) -> ControlFlow<()> {
        match event {
            Event::DocumentStart(_)
                if let Documents::One { kind } = self.documents
                    && !self.roots.is_empty() =>
            {
                let message = format!("a second document begins, one document of kind {kind} is expected");
                self.problems.add(line, "", message);
                return ControlFlow::Break(());
            }
            Event::Scalar(text, style, _, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let style = if plain { Style::Plain } else { Style::Text };
                self.check_tag(tag.as_deref(), line);
                self.place(Node { line, value: Value::Scalar { text: text.into_owned(), style } });
            }
            Event::SequenceStart(_, tag) => {
                self.check_tag(tag.as_deref(), line);
                return self.begin(line, Content::List(Vec::new()));
            }
            Event::MappingStart(_, tag) => {
                self.check_tag(tag.as_deref(), line);
                let content = Content::Map { entries: Vec::new(), lines: HashMap::new(), key: None };
                return self.begin(line, content);
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(_) => {
                let path = self.path();
                self.problems.add(line, path, "aliases are not supported; write the value out");
                self.place(Node { line, value: Value::Refused });
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
        }
        ControlFlow::Continue(())
    }

    fn check_tag(&mut self, tag: Option<&Tag>, line: usize) {
        let Some(tag) = tag else { return };
        let shown = match tag.is_yaml_core_schema() {
            true if tag.suffix == "str" => return,
            true => format!("!!{}", tag.suffix),
            false => tag.to_string(),
        };
        let path = self.path();
        self.problems.add(line, path, format!("the tag {} is not supported; remove it", quoted(&shown)));
    }

    /// The path of the node that comes next.
    fn path(&self) -> String {
        match self.open.last() {
            None => String::new(),
            Some(Open { path, content: Content::List(items), .. }) => item(path, items.len()),
            Some(Open { path, content: Content::Map { key: Some(Key::Kept { name, .. }), .. }, .. }) => {
                member(path, name)
            }
            Some(Open { path, content: Content::Map { .. }, .. }) => path.clone(),
        }
    }

    fn begin(&mut self, line: usize, content: Content) -> ControlFlow<()> {
        let path = self.path();
        if self.open.len() == MAX_DEPTH {
            self.problems.add(
                line,
                path,
                format!("nested deeper than {MAX_DEPTH} levels; no field needs that"),
            );
            return ControlFlow::Break(());
        }
        self.open.push(Open { path, line, content });
        ControlFlow::Continue(())
    }

    fn end(&mut self) {
        let Some(Open { line, content, .. }) = self.open.pop() else { return };
        let value = match content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(entries),
        };
        self.place(Node { line, value });
    }

    /// Puts `node` where it belongs: it is the root, an item, a key or a key's value.
    fn place(&mut self, node: Node) {
        let Some(Open { path, content, .. }) = self.open.last_mut() else {
            self.roots.push(node);
            return;
        };
        match content {
            Content::List(items) => items.push(node),
            Content::Map { entries, lines, key } => match key.take() {
                None => *key = Some(key_of(node, path, lines, self.problems)),
                Some(Key::Kept { name, line }) => entries.push(Entry { key: name, line, value: node }),
                Some(Key::Refused) => {}
            },
        }
    }
}

/// `node` as a key of the mapping at `path`, whose keys so far are on `lines`.
fn key_of(node: Node, path: &str, lines: &mut HashMap<String, usize>, problems: &mut Problems) -> Key {
    let line = node.line;
    match node.value {
        Value::Scalar { text, .. } => match lines.get(&text) {
            None => {
                lines.insert(text.clone(), line);
                Key::Kept { name: text, line }
            }
            Some(first) => {
                problems.add(
                    line,
                    member(path, &text),
                    format!("given twice, first on line {first}; keep one"),
                );
                Key::Refused
            }
        },
        Value::List(_) | Value::Map(_) => {
            problems.add(line, path, "a key must be text, not a list or a mapping");
            Key::Refused
        }
        Value::Refused => Key::Refused,
    }
}
