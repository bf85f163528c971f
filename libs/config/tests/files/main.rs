//! Tests of whole files: files that the Go EPP ships, invalid files and arbitrary text.
#![allow(clippy::unwrap_used)]

mod embedded;
mod flow_control;
mod invalid_files;
mod metrics_pages;
mod older_forms;
mod properties;
mod support;
mod valid_files;
