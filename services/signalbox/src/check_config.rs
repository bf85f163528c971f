//! `signalbox check-config`: validates a configuration file and describes its effect.

use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use signalbox_config::{Configuration, describe, parse};
use signalbox_document::{Problem, ReadError, parse_bytes, read_bytes};

use crate::exit_codes::NO;
use crate::input::Input;
use crate::output::Output;

/// Validate a configuration file and describe its effect; exits with 1 if it is invalid
#[derive(Args, Debug)]
pub(crate) struct CheckConfigArgs {
    /// EndpointPickerConfig file, as for signalbox-epp --config-file; - for standard input
    #[arg(value_name = "FILE")]
    file: Input,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Validates the file and prints its effect to stdout. The problems of an invalid file go to stderr as text, and to stdout as
/// JSON.
///
/// # Errors
/// When the file cannot be read, or stdout or stderr is closed.
pub(crate) fn run(args: &CheckConfigArgs) -> anyhow::Result<ExitCode> {
    let path = match &args.file {
        Input::StandardInput => PathBuf::from(args.file.to_string()),
        Input::File(path) => path.clone(),
    };
    let read = read(&args.file, &path)?;
    let is_valid = read.is_ok();
    match (args.output, read) {
        (Output::Text, Ok(configuration)) => {
            write!(stdout(), "{}: {}", path.display(), describe(&configuration))?;
        }
        (Output::Text, Err(invalid)) => writeln!(stderr(), "{invalid}")?,
        (Output::Json, read) => writeln!(stdout(), "{}", as_json(&path, &read))?,
    }
    Ok(if is_valid { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

/// Reads the file. The inner error tells that its content is invalid.
fn read(file: &Input, path: &Path) -> anyhow::Result<Result<Configuration, ReadError>> {
    let bytes = match file {
        Input::StandardInput => file.read()?,
        Input::File(path) => read_bytes(path)?,
    };
    Ok(parse_bytes(path, &bytes, parse))
}

fn as_json(path: &Path, read: &Result<Configuration, ReadError>) -> Value {
    let (problems, configuration) = match read {
        Ok(configuration) => (Vec::new(), Some(configuration)),
        Err(ReadError::Invalid { errors, .. }) => (list(errors.problems()), None),
        Err(other) => (vec![json!({ "message": other.to_string() })], None),
    };
    json!({
        "file": path.display().to_string(),
        "valid": configuration.is_some(),
        "problems": problems,
        "warnings": configuration.map(|configuration| list(&configuration.warnings)).unwrap_or_default(),
        "ignored": configuration.map(|configuration| list(&configuration.ignored)).unwrap_or_default(),
        "effect": configuration.map(describe),
    })
}

fn list(problems: &[Problem]) -> Vec<Value> {
    let entry =
        |Problem { line, path, message }: &Problem| json!({ "line": line, "path": path, "message": message });
    problems.iter().map(entry).collect()
}
