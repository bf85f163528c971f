//! `signalbox check-config`: what a configuration file will do, in words.

use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use signalbox_config::{describe, parse};
use signalbox_document::read_file;

/// Say in words what a configuration file will do, or all that is wrong with it
#[derive(Args, Debug)]
pub(crate) struct CheckConfigArgs {
    /// An EndpointPickerConfig file, as `signalbox-epp --config-file` takes it
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Reads the file and prints. The exit code is 1 where it cannot be used.
///
/// # Errors
/// When output is closed.
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
