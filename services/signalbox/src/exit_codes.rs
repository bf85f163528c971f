//! The exit codes of the command-line tool. All commands use the same ones.

use std::io::{Write, stderr};
use std::process::ExitCode;

use signalbox_document::ReadError;
use signalbox_lease::CoordinatorUrlError;
use signalbox_telemetry::TraceError;
use signalbox_tls::FileError;

use crate::output::PrintError;

/// The command did its work, and the answer is no: a file is invalid, a decision differs, a request would be refused,
/// requests failed. For `up`: a component cannot start, or stopped.
pub(crate) const NO: u8 = 1;

/// What the command needs cannot be read: a file, standard input or the answer of an EPP.
pub(crate) const UNREADABLE: u8 = 2;

/// The flags are invalid or do not apply together (`EX_USAGE`).
pub(crate) const USAGE: u8 = 64;

/// The output cannot be written (`EX_IOERR`).
const UNPRINTABLE: u8 = 74;

/// The exit codes for `--help`.
pub(crate) const HELP: &str = "Exit codes: 0 done; 1 the answer is no (invalid, different, refused, not found, requests failed, or up cannot go on); 2 something cannot be read; 64 invalid flags or environment; 74 the output cannot be written.";

/// Returns the exit code of a command, and that of its error as `code_of` tells it. An error is printed to standard error
/// with all its causes.
///
/// # Errors
/// When standard error is closed.
pub(crate) fn or_error_code(
    outcome: anyhow::Result<ExitCode>,
    code_of: fn(&anyhow::Error) -> u8,
) -> anyhow::Result<ExitCode> {
    outcome.or_else(|error| {
        writeln!(stderr(), "error: {error:#}")?;
        Ok(ExitCode::from(code_of(&error)))
    })
}

/// Returns the exit code for an error of a command whose errors mean that something cannot be read, unless they are
/// [`PrintError`]s.
pub(crate) fn of_reader(error: &anyhow::Error) -> u8 {
    if error.is::<PrintError>() { UNPRINTABLE } else { UNREADABLE }
}

/// Returns the exit code for an error of `signalbox up`.
pub(crate) fn of_up(error: &anyhow::Error) -> u8 {
    let is_unread_document =
        error.downcast_ref().is_some_and(|error| !matches!(error, ReadError::Invalid { .. }));
    let is_unread_file =
        error.downcast_ref().is_some_and(|error| matches!(error, FileError::Unreadable { .. }));
    if is_unread_document || is_unread_file || error.is::<PrintError>() {
        of_reader(error)
    } else if error.is::<TraceError>() || error.is::<CoordinatorUrlError>() {
        USAGE
    } else {
        NO
    }
}

/// Prints why flags are refused, and returns the exit code for that.
///
/// # Errors
/// When standard error is closed.
pub(crate) fn usage(reason: &str) -> anyhow::Result<ExitCode> {
    writeln!(stderr(), "error: {reason}")?;
    Ok(ExitCode::from(USAGE))
}
