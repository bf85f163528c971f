//! Parsing of request bodies and reading of response bodies.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod allocations;
mod completions_and_chats;
mod encodings;
mod media;
mod model_renames;
mod models_alone;
mod mutated_corpus;
mod named_models;
mod odd_bodies;
mod other_apis;
mod prompt_forms;
mod protobuf_writer;
mod rendered_parts;
mod response_output;
mod response_usage;
