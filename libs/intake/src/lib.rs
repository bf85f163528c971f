//! What clients say: request bodies, scanned once.
//!
//! [`Api::of_path`] tells from a request's path how its body is read, [`parse`] reads it. The body is scanned once
//! and no tree is built: what is needed of it is borrowed, and the prompt is hashed where it lies.

mod api;
mod body;
mod error;
mod messages;
mod parse;

pub use api::Api;
pub use error::IntakeError;
pub use parse::{Delivery, Intake, parse};
