//! Turns JSON that is parsed already into nodes.

use serde_json::Value as Json;

use crate::node::{Entry, Node, Value};
use crate::scalar::Style;

/// The line of all nodes: JSON that is parsed already has no lines.
const LINE: usize = 1;

impl Node {
    /// Returns the node of a JSON value. All its lines are 1.
    pub fn from_json(json: &Json) -> Self {
        let scalar = |text: String, style| Value::Scalar { text, style };
        let value = match json {
            Json::Null => scalar(String::new(), Style::Plain),
            Json::Bool(boolean) => scalar(boolean.to_string(), Style::Plain),
            Json::Number(number) => scalar(number.to_string(), Style::Plain),
            Json::String(text) => scalar(text.clone(), Style::Text),
            Json::Array(items) => Value::List(items.iter().map(Self::from_json).collect()),
            Json::Object(members) => Value::Map(members.iter().map(entry).collect()),
        };
        Self { line: LINE, value }
    }
}

fn entry((key, json): (&String, &Json)) -> Entry {
    Entry { key: key.clone(), line: LINE, value: Node::from_json(json) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fields::Located;
    use crate::problem::Problems;

    #[test]
    fn values_keep_their_types() {
        let json = json!({ "text": "7", "number": 7, "flag": true, "none": null, "list": [1.5] });
        let node = Node::from_json(&json);
        let mut problems = Problems::accepting_unknown_fields();
        let fields = Located::root(&node).fields(&["text"], &mut problems).unwrap();
        let at = |name: &str| fields.optional(name).unwrap();
        assert_eq!(Some("7"), at("text").text(&mut problems));
        assert_eq!(Some(7), at("number").integer(0..=9, &mut problems));
        assert_eq!(Some(true), at("flag").boolean(&mut problems));
        assert!(fields.non_null("none").is_none());
        let items = at("list").items(&mut problems).unwrap();
        assert_eq!(Some(1.5), items[0].number(&mut problems));
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(None, at("text").integer(0..=9, &mut problems));
        assert!(!problems.is_empty());
    }
}
