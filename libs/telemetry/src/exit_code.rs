//! Exit codes of a process.

use std::fmt::Display;
use std::process::ExitCode;

/// Returns the exit code for `outcome`. An error is printed to standard error, on one line with all its
/// causes.
#[expect(clippy::print_stderr, reason = "a fatal error must reach the user regardless of the log filter")]
pub fn exit_code<E: Display>(outcome: Result<ExitCode, E>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
