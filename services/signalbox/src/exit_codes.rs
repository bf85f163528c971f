//! The exit codes of the command-line tool. All commands that end by themselves use the same ones.

use std::io::{Write, stderr};
use std::process::ExitCode;

use crate::output::PrintError;

/// The command did its work, and the answer is no: a file is invalid, a decision differs, a request would be refused,
/// requests failed.
pub(crate) const NO: u8 = 1;

/// What the command needs cannot be read: a file, standard input or the answer of an EPP.
pub(crate) const UNREADABLE: u8 = 2;

/// The flags are invalid or do not apply together (`EX_USAGE`).
pub(crate) const USAGE: u8 = 64;

/// The output cannot be written (`EX_IOERR`).
const UNPRINTABLE: u8 = 74;

/// The exit codes for `--help`.
pub(crate) const HELP: &str = "Exit codes of load, explain, check-config and replay: 0 done; 1 the answer is no (invalid, different, refused, not found, or requests failed); 2 something cannot be read; 64 invalid flags; 74 the output cannot be written.";

/// Returns the exit code of a command whose errors mean that something cannot be read, unless they are [`PrintError`]s. An
/// error is printed to standard error, on one line with all its causes.
///
/// # Errors
/// When standard error is closed.
pub(crate) fn or_error_code(outcome: anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    outcome.or_else(|error| {
        writeln!(stderr(), "error: {error:#}")?;
        Ok(ExitCode::from(if error.is::<PrintError>() { UNPRINTABLE } else { UNREADABLE }))
    })
}

/// Prints why flags are refused, and returns the exit code for that.
///
/// # Errors
/// When standard error is closed.
pub(crate) fn usage(reason: &str) -> anyhow::Result<ExitCode> {
    writeln!(stderr(), "error: {reason}")?;
    Ok(ExitCode::from(USAGE))
}
