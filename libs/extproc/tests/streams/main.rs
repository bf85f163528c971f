//! Complete conversations, from the gateway's point of view.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod body_modes;
mod client_headers;
mod compressed;
mod contract;
mod gateway;
mod model_rewrites;
mod opaque;
mod properties;
mod refusals;
mod request;
mod response;
mod rewrite_only_models;
mod stored_responses;
