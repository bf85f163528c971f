//! Finds the name of the model where a request is not parsed: in a body that passes unread or of which only a part is there,
//! and in the path.

use std::fmt;

use percent_encoding::percent_decode_str;
use serde::Deserializer;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};

use crate::api::Api;
use crate::json::with_finite_numbers;
use crate::protobuf::http_body::{Envelope, Payload};
use crate::request::model_only::form_model;
use crate::request::without_byte_order_mark;

/// Returns the model that a body of `api` names, of which `part` is the beginning or all. Returns `None` if `part` names
/// none or cannot be read that far.
pub fn named_model(api: Api, part: &[u8]) -> Option<String> {
    match api {
        Api::Opaque | Api::Generate | Api::GenerateStream | Api::VllmGrpcGenerate | Api::VllmGrpcEmbed => {
            None
        }
        Api::VertexChat | Api::VertexPredict => {
            let payload = Payload::find(part, Envelope::Request).ok()??;
            json_model(&part[payload.range()])
        }
        Api::ModelForm => str::from_utf8(form_model(part)?).ok().map(str::to_owned),
        _ => json_model(part),
    }
}

/// Returns the names that a path may give for a model, such as that of `/v1/models/NAME` or `/v1/realtime?model=NAME`. A name
/// may contain slashes, and be followed by more of the path, or by a colon and a method: each reading is one of the names.
pub fn models_in_path(path: &str) -> Vec<String> {
    let path = path.split('#').next().unwrap_or_default();
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let rest = after_models(path).unwrap_or("").trim_end_matches('/');
    let segment = rest.split('/').next().unwrap_or_default();
    let without_method = [rest, segment].map(|name| name.rsplit_once(':').map_or(name, |(name, _)| name));
    let names_in_query = path.ends_with("/realtime");
    let parameters = query.split('&').filter(|_| names_in_query);
    let parameters = parameters.filter_map(|parameter| parameter.strip_prefix("model="));
    let mut names = Vec::new();
    for name in [rest, segment].into_iter().chain(without_method).chain(parameters) {
        let name = percent_decode_str(name).decode_utf8_lossy().into_owned();
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Returns what follows `/models/` in a path of an API: after its version, or a publisher of models. Elsewhere, as in a prefix
/// that a route removes, it names no model of a request.
fn after_models(path: &str) -> Option<&str> {
    let (before, rest) = path.split_once("/models/")?;
    let mut segments = before.rsplit('/');
    let last = segments.next()?;
    let is_version =
        last.strip_prefix('v').is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()));
    (is_version || segments.next() == Some("publishers")).then_some(rest)
}

/// Returns the first `model` of a JSON object that may end early.
fn json_model(part: &[u8]) -> Option<String> {
    let text = without_byte_order_mark(part);
    first_model(text).or_else(|| first_model(&with_finite_numbers(text)?))
}

fn first_model(text: &[u8]) -> Option<String> {
    let mut found = None;
    // The error only ends the search: at the model, or where the text does.
    let _ = serde_json::Deserializer::from_slice(text).deserialize_map(Search(&mut found));
    found
}

/// Looks for the member `model` of an object, and ends with an error when it is found.
struct Search<'a>(&'a mut Option<String>);

impl<'de> Visitor<'de> for Search<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while let Some(key) = object.next_key::<String>()? {
            if key == "model" {
                *self.0 = Some(object.next_value()?);
                return Err(A::Error::custom("found"));
            }
            object.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}
