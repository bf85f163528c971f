//! Walks through JSON that is known to be valid, without building a tree.
//!
//! `serde_json` checks a body when it keeps its values as raw text. The values are then read again here,
//! where strings keep their escapes, so that a prompt is hashed without a copy of it.

use smallvec::SmallVec;

use super::depth::skip_string;
use super::escapes::decodes_to;

/// Maximum number of members of an object that are kept. It bounds the memory that an object costs.
const MAX_MEMBERS: usize = 1_024;

/// A position in valid JSON. Invalid JSON gives arbitrary parts of it, but nothing panics or runs forever.
pub(crate) struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    /// Returns the position before a value.
    pub(crate) fn new(json: &'a str) -> Self {
        Self { rest: json }
    }

    /// Enters an array if one is next.
    pub(crate) fn enter_array(&mut self) -> bool {
        self.take(b'[')
    }

    /// Leaves an array if it has no further element. At the end of the text every array ends.
    pub(crate) fn leave_array(&mut self) -> bool {
        self.take(b']') || self.rest.is_empty()
    }

    /// Returns the first byte of the next value or bracket.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let is_separator = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | b',' | b':');
        let separators = self.rest.bytes().take_while(is_separator).count();
        self.rest = &self.rest[separators..];
        self.rest.bytes().next()
    }

    /// Moves behind the bracket that is next.
    pub(crate) fn skip_bracket(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
    }

    /// Returns whether the last value was the key of a member.
    pub(crate) fn is_after_key(&self) -> bool {
        self.rest.trim_ascii_start().starts_with(':')
    }

    /// Returns the next value as it is written, and moves behind it.
    pub(crate) fn value(&mut self) -> &'a str {
        self.peek();
        let len = value_len(self.rest.as_bytes());
        let (value, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, ""));
        self.rest = rest;
        value
    }

    /// Reads the object that is next and moves behind it; returns `None` if something else is next.
    pub(crate) fn object(&mut self) -> Option<Object<'a>> {
        if self.peek() != Some(b'{') {
            return None;
        }
        let from = self.rest;
        self.take(b'{');
        let mut object =
            Object { json: from, members: SmallVec::new(), is_complete: true, has_escaped_keys: false };
        while !self.take(b'}') && !self.rest.is_empty() {
            let key = self.value();
            object.has_escaped_keys |= key.as_bytes().contains(&b'\\');
            let member = (unquoted(key).unwrap_or(key), self.value());
            if object.members.len() < MAX_MEMBERS {
                object.members.push(member);
            } else {
                object.is_complete = false;
            }
        }
        object.json = &from[..from.len() - self.rest.len()];
        Some(object)
    }

    fn take(&mut self, bracket: u8) -> bool {
        let is_next = self.peek() == Some(bracket);
        if is_next {
            self.skip_bracket();
        }
        is_next
    }
}

/// The members of an object, borrowed from the body.
pub(crate) struct Object<'a> {
    json: &'a str,
    members: SmallVec<[(&'a str, &'a str); 12]>,
    is_complete: bool,
    has_escaped_keys: bool,
}

impl<'a> Object<'a> {
    /// Returns the object as it is written.
    pub(crate) fn json(&self) -> &'a str {
        self.json
    }

    /// Returns whether all members are kept.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Returns the value of the member `wanted` unless it is `null`. Of a repeated member the last counts, as
    /// for Python's JSON parser, in which engines read requests.
    pub(crate) fn get(&self, wanted: &str) -> Option<&'a str> {
        let member = self.members.iter().rev().find(|(key, _)| self.is_key(key, wanted));
        member.map(|(_, value)| *value).filter(|value| *value != "null")
    }

    /// Returns the content of the member `wanted`, with escapes, if it is a string.
    pub(crate) fn get_string(&self, wanted: &str) -> Option<&'a str> {
        self.get(wanted).and_then(unquoted)
    }

    /// Returns which of `names` is the key of several members.
    pub(crate) fn find_repeated<'n>(&self, names: &[&'n str]) -> Option<&'n str> {
        let count = |wanted: &str| self.members.iter().filter(|(key, _)| self.is_key(key, wanted)).count();
        names.iter().copied().find(|wanted| count(wanted) > 1)
    }

    fn is_key(&self, escaped: &str, wanted: &str) -> bool {
        escaped == wanted || self.has_escaped_keys && decodes_to(escaped, wanted)
    }
}

/// Returns what is between the quotes of a string, with escapes, or `None` if `json` is not a string.
pub(crate) fn unquoted(json: &str) -> Option<&str> {
    json.strip_prefix('"').and_then(|text| text.strip_suffix('"'))
}

/// Returns the length of the value at the start of `json`, at least 1 if `json` is not empty.
fn value_len(json: &[u8]) -> usize {
    match json {
        [b'"', inner @ ..] => json.len() - skip_string(inner).len(),
        [b'[' | b'{', ..] => container_len(json),
        _ => {
            let ends = |byte: &u8| matches!(byte, b',' | b':' | b']' | b'}') || byte.is_ascii_whitespace();
            json.iter().position(ends).filter(|len| *len > 0).unwrap_or(json.len())
        }
    }
}

fn container_len(json: &[u8]) -> usize {
    let (mut depth, mut rest) = (0_usize, json);
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b'"' => rest = skip_string(after),
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    json.len() - rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn array_elements_are_read_in_order() {
        let mut cursor = Cursor::new(r#" [1 ,"a,]\"", [2,[3]],{"a":"}"} , null]"#);
        let mut values = Vec::new();
        assert!(cursor.enter_array());
        while !cursor.leave_array() {
            values.push(cursor.value());
        }
        assert_eq!(values, ["1", r#""a,]\"""#, "[2,[3]]", r#"{"a":"}"}"#, "null"]);
        assert!(!Cursor::new("{}").enter_array());
    }

    #[test]
    fn members_are_found_by_their_decoded_names() {
        let json = r#"{"a" : 1,"r\u006fle":"x\ny", "b":{"a":2},"c":null,"a":[3]}"#;
        let mut cursor = Cursor::new(json);
        let object = cursor.object().unwrap();
        assert_eq!(object.json(), json);
        assert_eq!(object.get("a"), Some("[3]"));
        assert_eq!(object.get_string("role"), Some(r"x\ny"));
        assert_eq!(object.get("b"), Some(r#"{"a":2}"#));
        assert_eq!((object.get("c"), object.get("d")), (None, None));
        assert_eq!(object.find_repeated(&["b", "a"]), Some("a"));
        assert_eq!(object.find_repeated(&["b", "c"]), None);
        assert!(cursor.object().is_none());
    }

    #[test]
    fn kept_members_are_bounded() {
        let members: Vec<_> = (0..MAX_MEMBERS + 1).map(|at| format!("\"{at}\":0")).collect();
        let json = format!("{{{}}}", members.join(","));
        let object = Cursor::new(&json).object().unwrap();
        assert_eq!((object.is_complete(), object.members.len()), (false, MAX_MEMBERS));
        assert_eq!(object.json(), json);
    }

    #[test]
    fn invalid_json_neither_panics_nor_runs_forever() {
        for json in ["[", "[1", "{", "{\"a\"", "{\"a\":", "]", "[}", "{]", "[\"a", "", "[,:", "{,}"] {
            let mut cursor = Cursor::new(json);
            cursor.object();
            if cursor.enter_array() {
                while !cursor.leave_array() {
                    cursor.value();
                }
            }
        }
    }
}
