//! Parses the name of the model in a request body.

use std::ops::Range;

use serde_json::value::RawValue;

use crate::error::ParseError;
use crate::options::ParseOptions;

/// Maximum length of a model name in bytes. Names are kept in metrics and in recordings of decisions.
const MAX_MODEL_BYTES: usize = 1_024;

/// The model of a request, and where the body names it.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// Name of the model that serves the request.
    pub(crate) name: String,
    /// Name in the body, if it differs from the model that serves the request.
    pub(crate) requested: Option<String>,
    /// Range of the name's JSON value in the body.
    pub(crate) span: Option<Range<usize>>,
}

impl Model {
    /// Parses the model that `value`, a part of `body`, names.
    ///
    /// # Errors
    /// Returns [`ParseError::MissingModel`] if the name is missing, null or empty, [`ParseError::InvalidModel`] if it is
    /// not a string, and [`ParseError::ModelTooLong`] if it is too long.
    pub(crate) fn parse_required(
        body: &[u8],
        value: Option<&RawValue>,
        options: &ParseOptions<'_>,
    ) -> Result<Self, ParseError> {
        let model = Self::parse_optional(body, value, options)?;
        if model.name.is_empty() { Err(ParseError::MissingModel) } else { Ok(model) }
    }

    /// Like [`Self::parse_required`], but the name may be missing or empty: engines serve such a request with the model
    /// that they have.
    ///
    /// # Errors
    /// Returns [`ParseError::InvalidModel`] if the name is not a string, and [`ParseError::ModelTooLong`] if it is too
    /// long.
    pub(crate) fn parse_optional(
        body: &[u8],
        value: Option<&RawValue>,
        options: &ParseOptions<'_>,
    ) -> Result<Self, ParseError> {
        let Some(text) = value.map(RawValue::get) else {
            let inside = body.iter().position(|byte| *byte == b'{').map(|at| at + 1..at + 1);
            return Ok(Self::from_default_rewrite(inside, options));
        };
        let start = text.as_ptr().addr() - body.as_ptr().addr();
        let span = Some(start..start + text.len());
        if text == "null" {
            return Ok(Self::from_default_rewrite(span, options));
        }
        let requested: String = serde_json::from_str(text).map_err(|_| ParseError::InvalidModel)?;
        Self::named(requested, span, options)
    }

    /// Like [`Self::parse_optional`], but a body that names no model, or not by a string, has none: it is not of an API
    /// for which a rewrite could add one.
    ///
    /// # Errors
    /// Returns [`ParseError::ModelTooLong`] if the name is too long.
    pub(crate) fn parse_if_named(
        body: &[u8],
        value: Option<&RawValue>,
        options: &ParseOptions<'_>,
    ) -> Result<Self, ParseError> {
        let is_name = |value: &&RawValue| value.get().starts_with('"') && value.get() != "\"\"";
        match value.filter(is_name) {
            Some(value) => match Self::parse_optional(body, Some(value), options) {
                Err(ParseError::InvalidModel) => Ok(Self::default()),
                parsed => parsed,
            },
            None => Ok(Self::default()),
        }
    }

    /// Returns the model `requested`, which is named at `span`.
    ///
    /// # Errors
    /// Returns [`ParseError::ModelTooLong`] if the name is too long.
    pub(crate) fn named(
        requested: String,
        span: Option<Range<usize>>,
        options: &ParseOptions<'_>,
    ) -> Result<Self, ParseError> {
        if requested.len() > MAX_MODEL_BYTES {
            return Err(ParseError::ModelTooLong { limit_bytes: MAX_MODEL_BYTES });
        }
        Ok(match (options.rewrite)(&requested).filter(|target| *target != requested) {
            Some(name) => Self { name, requested: Some(requested), span },
            None => Self { name: requested, requested: None, span },
        })
    }

    /// Returns the model of a body that names none: the target of the rewrite for requests without a model,
    /// if there is one. `span` is where its name can be inserted.
    fn from_default_rewrite(span: Option<Range<usize>>, options: &ParseOptions<'_>) -> Self {
        match (options.rewrite)("") {
            Some(name) => Self { name, requested: Some(String::new()), span },
            None => Self::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse_object;

    #[derive(serde::Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        model: Option<&'a RawValue>,
    }

    #[test]
    fn model_span_covers_the_json_value() {
        let body = br#"{ "model" :  "a\"b" , "x":1}"#;
        let parsed: Body<'_> = parse_object(body).unwrap();
        let model = Model::parse_required(body, parsed.model, &ParseOptions::new(8)).unwrap();
        assert_eq!(model.name, "a\"b");
        assert_eq!(&body[model.span.unwrap()], br#""a\"b""#);
    }
}
