//! The formats in which commands print, and the error when they cannot.

use std::io;

use clap::ValueEnum;
use thiserror::Error;

/// Output format, alike for all commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Text for people
    #[default]
    Text,
    /// JSON for programs
    Json,
}

/// The output cannot be written, for example because the process that reads it has ended.
#[derive(Debug, Error)]
#[error("cannot print the output: {0}")]
pub(crate) struct PrintError(pub(crate) io::Error);
