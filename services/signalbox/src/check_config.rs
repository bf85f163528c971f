//! `signalbox check-config`: validates a configuration file and describes its effect.

use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use signalbox_config::{describe, parse};
use signalbox_document::read_file;

/// Validate a configuration file and describe its effect; exits with 1 if it is invalid
#[derive(Args, Debug)]
pub(crate) struct CheckConfigArgs {
    /// EndpointPickerConfig file, as for signalbox-epp --config-file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Validates the file and prints its effect to stdout, or its problems to stderr. Exits with 1 if the file is
/// invalid.
///
/// # Errors
/// When stdout or stderr is closed.
pub(crate) fn run(args: &CheckConfigArgs) -> anyhow::Result<ExitCode> {
    match read_file(&args.file, parse) {
        Ok(configuration) => {
            write!(stdout(), "{}: {}", args.file.display(), describe(&configuration))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(errors) => {
            writeln!(stderr(), "{errors}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}
