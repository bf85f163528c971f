//! Parses the bodies of requests, and reads usage and model names in responses.
//!
//! [`Api::for_path`] maps a request's path to an API, and [`parse`] parses the request's body. It checks the
//! body in one scan and builds no tree: it borrows the values that it needs and hashes the prompt in place,
//! without a copy. [`replace_model`] writes another model's name into a body. The module [`response`] handles response
//! bodies.

mod api;
mod byte_edits;
mod encoding;
mod error;
mod json;
mod options;
mod parsers;
mod prompt;
mod protobuf;
mod request;
pub mod response;

pub use api::{Api, StoredResponse};
pub use encoding::{ContentEncodings, DecodeError, UnknownEncoding};
pub use error::{JsonError, MessagesError, ParseError};
pub use options::ParseOptions;
pub use parsers::Parsers;
pub use request::{Delivery, ParsedRequest, Unread, models_in_path, named_model, parse, replace_model};
