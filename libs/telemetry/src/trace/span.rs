//! A span, as the rest of the process sees it.

use std::borrow::Cow;
use std::time::SystemTime;

use opentelemetry::trace::Event;
use opentelemetry::{Array, KeyValue, StringValue};
use opentelemetry_sdk::trace::SpanEvents;

/// Names and values.
pub type Attributes = Vec<(Cow<'static, str>, Value)>;

/// What is said about something that was begun.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// What was done.
    pub name: &'static str,
    /// When it was done.
    pub ended: SystemTime,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// What is known of it.
    pub attributes: Attributes,
    /// What happened when it was done.
    pub event: Option<SpanEvent>,
}

/// Something that happened at the end of a span.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanEvent {
    /// What.
    pub name: &'static str,
    /// What is known of it.
    pub attributes: Attributes,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A whole number; beyond `i64::MAX` it is that.
    Count(u64),
    /// Any number.
    Number(f64),
    /// Texts, in order.
    Texts(Vec<String>),
}

impl From<Value> for opentelemetry::Value {
    fn from(value: Value) -> Self {
        match value {
            Value::Text(text) => Self::from(text),
            Value::Count(number) => Self::I64(i64::try_from(number).unwrap_or(i64::MAX)),
            Value::Number(number) => Self::F64(number),
            Value::Texts(texts) => {
                Self::Array(Array::String(texts.into_iter().map(StringValue::from).collect()))
            }
        }
    }
}

/// As the SDK has them.
pub(super) fn attributes(of: Attributes) -> Vec<KeyValue> {
    of.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect()
}

/// As the SDK has it.
pub(super) fn events(event: Option<SpanEvent>, at: SystemTime) -> SpanEvents {
    let mut events = SpanEvents::default();
    let event = event.map(|SpanEvent { name, attributes: of }| Event::new(name, at, attributes(of), 0));
    events.events.extend(event);
    events
}
