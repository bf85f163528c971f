//! Spans as the rest of the process describes them.

use std::borrow::Cow;
use std::time::SystemTime;

use opentelemetry::trace::Event;
use opentelemetry::{Array, KeyValue, StringValue};
use opentelemetry_sdk::trace::SpanEvents;

/// Attribute names and values.
pub type Attributes = Vec<(Cow<'static, str>, Value)>;

/// The content of an ended span.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// End of the operation.
    pub ended: SystemTime,
    /// Cause of the failure, if the operation failed.
    pub failure: Option<String>,
    /// Attributes of the operation.
    pub attributes: Attributes,
    /// Event at the end of the span.
    pub event: Option<SpanEvent>,
}

/// An event at the end of a span.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanEvent {
    /// Name of the event.
    pub name: &'static str,
    /// Attributes of the event.
    pub attributes: Attributes,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A string.
    Text(String),
    /// An integer, capped at `i64::MAX` on export.
    Count(u64),
    /// A floating-point number.
    Number(f64),
    /// A list of strings.
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

/// Converts attributes to the types of the SDK.
pub(super) fn attributes(of: Attributes) -> Vec<KeyValue> {
    of.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect()
}

/// Converts an event to the types of the SDK.
pub(super) fn events(event: Option<SpanEvent>, at: SystemTime) -> SpanEvents {
    let mut events = SpanEvents::default();
    let event = event.map(|SpanEvent { name, attributes: of }| Event::new(name, at, attributes(of), 0));
    events.events.extend(event);
    events
}
