//! Conversations from beginning to end.
#![allow(clippy::unwrap_used)] // in a test, a panic is the message

mod contract;
mod gateway;
mod models;
mod modes;
mod properties;
mod refusals;
mod request;
mod response;
