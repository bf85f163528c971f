//! Sends HTTP requests to the processes of a test and reads their responses.

mod client;
mod completion_request;
mod metrics_page;

pub use client::{Client, Response, UPLOAD_CHUNK_BYTES, Upload};
pub use completion_request::{CompletionRequest, MODEL, ResponseFormat, random_text};
pub use metrics_page::MetricsPage;
