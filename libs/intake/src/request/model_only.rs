//! Parses bodies of which only the model is read: those of APIs that generate nothing from a cached prompt, such as
//! counting tokens, ranking, and speech.

use std::ops::Range;

use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{JsonError, ParseError};
use crate::json::{deserialize_present, parse_object};
use crate::options::ParseOptions;
use crate::request::model::Model;
use crate::request::parsed::{ParsedRequest, Unread, assemble_unread, delivery};

/// Maximum length of the headers of a form's part in bytes.
const MAX_PART_HEADERS_BYTES: usize = 16 << 10;

/// A body that may name a model.
#[derive(Deserialize)]
struct ModelBody<'a> {
    #[serde(borrow, default, deserialize_with = "deserialize_present")]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    stream: Option<&'a RawValue>,
}

/// Parses JSON. A body that is no object, or that is empty, names no model.
pub(crate) fn parse_json(bytes: &[u8], options: &ParseOptions<'_>) -> Result<ParsedRequest, ParseError> {
    let body: ModelBody<'_> = match parse_object(bytes) {
        Ok(body) => body,
        Err(JsonError::Empty) => return Ok(ParsedRequest::default()),
        Err(JsonError::NotAnObject) => return Ok(Unread::Structure.into()),
        Err(error) => return Err(ParseError::InvalidJson(error)),
    };
    let model = Model::parse_if_named(bytes, body.model, options)?;
    Ok(ParsedRequest { unread: None, ..assemble_unread(model, None, delivery(body.stream)) })
}

/// Parses a form ([RFC 7578](https://www.rfc-editor.org/rfc/rfc7578)). Its first line is the boundary.
pub(crate) fn parse_form(bytes: &[u8], options: &ParseOptions<'_>) -> Result<ParsedRequest, ParseError> {
    let Some(parts) = Parts::new(bytes) else { return Ok(Unread::Structure.into()) };
    let mut fields = parts.filter(|part| is_model_field(&bytes[part.headers.clone()]));
    let Some(field) = fields.next() else { return Ok(ParsedRequest::default()) };
    if fields.next().is_some() {
        return Err(ParseError::DuplicateFormModel);
    }
    let Ok(name) = str::from_utf8(&bytes[field.value.clone()]) else { return Err(ParseError::InvalidModel) };
    if name.is_empty() {
        return Ok(ParsedRequest::default());
    }
    let model = Model::named(name.to_owned(), Some(field.value), options)?;
    Ok(ParsedRequest { unread: None, ..assemble_unread(model, None, delivery(None)) })
}

/// Returns the field `model` of a form, or of the beginning of one that contains it.
pub(crate) fn form_model(form: &[u8]) -> Option<&[u8]> {
    let field = Parts::new(form)?.find(|part| is_model_field(&form[part.headers.clone()]))?;
    Some(&form[field.value])
}

/// A part of a form: where its headers and its value are.
struct Part {
    headers: Range<usize>,
    value: Range<usize>,
}

/// Iterates over the complete parts of a form.
struct Parts<'a> {
    form: &'a [u8],
    /// A line break and the boundary, which end each part.
    delimiter: Vec<u8>,
    /// Where the next part begins.
    at: usize,
}

impl<'a> Parts<'a> {
    /// Returns the parts of `form`, or `None` if it does not begin with a boundary.
    fn new(form: &'a [u8]) -> Option<Self> {
        let end = memmem::find(form, b"\r\n").filter(|_| form.starts_with(b"--"))?;
        let boundary = form[..end].trim_ascii_end();
        Some(Self { form, delimiter: [b"\r\n", boundary].concat(), at: end + 2 })
    }
}

impl Iterator for Parts<'_> {
    type Item = Part;

    fn next(&mut self) -> Option<Part> {
        let part = &self.form[self.at..];
        let headers = memmem::find(&part[..part.len().min(MAX_PART_HEADERS_BYTES)], b"\r\n\r\n")?;
        let start = self.at + headers + 4;
        let len = memmem::find(&self.form[start..], &self.delimiter)?;
        let found = Part { headers: self.at..self.at + headers, value: start..start + len };
        let after = start + len + self.delimiter.len();
        self.at = memmem::find(&self.form[after..], b"\r\n").map_or(self.form.len(), |line| after + line + 2);
        Some(found)
    }
}

/// Returns whether the headers of a part are those of the field `model`.
fn is_model_field(headers: &[u8]) -> bool {
    let headers = String::from_utf8_lossy(headers);
    let mut lines = headers.lines().filter_map(|line| line.split_once(':'));
    let Some((_, disposition)) =
        lines.find(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"))
    else {
        return false;
    };
    let parameter = |wanted: &str| {
        let parameters = disposition.split(';').filter_map(|parameter| parameter.split_once('='));
        let value = parameters.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
        value.map(|(_, value)| value.trim().trim_matches('"'))
    };
    parameter("name") == Some("model") && parameter("filename").is_none()
}
