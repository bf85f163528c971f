//! What clients say and what model servers answer: bodies, scanned once.
//!
//! [`Api::of_path`] tells from a request's path how its body is read, [`parse`] reads it. The body is scanned once
//! and no tree is built: what is needed of it is borrowed, and the prompt is hashed where it lies. [`splice_model`]
//! puts another model's name into it. [`answer`] is about what comes back.

pub mod answer;
mod anthropic;
mod api;
mod body;
mod depth;
mod error;
mod generate;
mod grpc;
mod ids;
mod media;
mod messages;
mod openai;
mod parse;
mod parsers;
mod prompt;
mod splice;
mod vertex;
mod wire;

pub use api::Api;
pub use error::{IntakeError, Malformed};
pub use parse::{Delivery, Intake, Reading, parse};
pub use parsers::Parsers;
pub use splice::splice_model;
