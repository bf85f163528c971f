//! What two answers have in common: the form, not the values.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::https::Answer;

/// The headers that clients read.
const HEADERS: [&str; 4] = ["content-type", "content-encoding", "allow", "www-authenticate"];

/// The fields of bodies whose values clients read. Of others, the type counts.
const READ: [&str; 7] = ["kind", "apiVersion", "status", "reason", "code", "namespaced", "verbs"];

/// A field that no client needs: it repeats the request.
const OPTIONAL: &str = "details";

/// What tells answers of different kinds apart. No more of these is compared.
const HEADLINE: [&str; 6] = ["code", "content-type", "allow", "www-authenticate", "body.kind", "body.reason"];

/// Each place of an answer, such as `items[].value`, with what is there.
type Shape = BTreeMap<String, BTreeSet<String>>;

/// Returns the places that differ, with what each has there.
pub(crate) fn differences(ours: &Answer, reference: &Answer) -> Vec<String> {
    let (mut ours, mut reference) = (shape(ours), shape(reference));
    if HEADLINE.iter().any(|place| ours.get(*place) != reference.get(*place)) {
        for shape in [&mut ours, &mut reference] {
            shape.retain(|place, _| HEADLINE.contains(&place.as_str()));
        }
    }
    let places: BTreeSet<&String> = ours.keys().chain(reference.keys()).collect();
    let text = |shape: &Shape, place: &str| {
        let found = shape.get(place).map(|found| found.iter().cloned().collect::<Vec<_>>().join(" | "));
        found.unwrap_or_else(|| "nothing".to_owned())
    };
    let differing = places.into_iter().filter(|place| ours.get(*place) != reference.get(*place));
    differing
        .map(|place| format!("{place}: {}, not {}", text(&ours, place), text(&reference, place)))
        .collect()
}

fn shape(answer: &Answer) -> Shape {
    let mut shape = Shape::new();
    add(&mut shape, "code", answer.code.to_string());
    for name in HEADERS {
        if let Some(value) = answer.headers.get(name) {
            add(&mut shape, name, String::from_utf8_lossy(value.as_bytes()).into_owned());
        }
    }
    match serde_json::from_slice(&answer.body) {
        Ok(body) => add_value(&mut shape, "body", &body),
        Err(_) if answer.body.is_empty() => {}
        Err(_) => add(&mut shape, "body", "no JSON".to_owned()),
    }
    shape
}

fn add(shape: &mut Shape, place: &str, found: String) {
    shape.entry(place.to_owned()).or_default().insert(found);
}

fn add_value(shape: &mut Shape, place: &str, value: &Value) {
    let field = place.rsplit(['.', '[']).next().unwrap_or_default();
    match value {
        Value::Object(fields) => {
            add(shape, place, "object".to_owned());
            let fields = fields.iter().filter(|(name, _)| *name != OPTIONAL);
            fields.for_each(|(name, value)| add_value(shape, &format!("{place}.{name}"), value));
        }
        Value::Array(items) if !READ.contains(&field) => {
            add(shape, place, if items.is_empty() { "empty list" } else { "list" }.to_owned());
            items.iter().for_each(|item| add_value(shape, &format!("{place}[]"), item));
        }
        value if READ.contains(&field) => add(shape, place, value.to_string()),
        Value::Null => add(shape, place, "null".to_owned()),
        Value::Bool(_) => add(shape, place, "boolean".to_owned()),
        Value::Number(_) => add(shape, place, "number".to_owned()),
        Value::String(_) | Value::Array(_) => add(shape, place, "string".to_owned()),
    }
}
