//! Conversations from beginning to end.
#![allow(clippy::unwrap_used)] // in a test, a panic is the message

mod gateway;
mod properties;
mod refusals;
mod request;
mod response;
