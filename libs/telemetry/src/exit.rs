//! How a process ends.

use std::fmt::Display;
use std::process::ExitCode;

/// The exit code of a process that ended with `outcome`; an error goes to standard error, in one line with all its causes.
#[expect(clippy::print_stderr, reason = "the last word of a process is for the person who started it")]
pub fn exit_code<E: Display>(outcome: Result<ExitCode, E>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
