//! `signalbox check-config`: validates a configuration file and describes its effect.

use std::io::{self, Write, stderr, stdin, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use signalbox_config::{Embedded, describe, find};
use signalbox_document::{Problem, ReadError, parse_bytes, read_bytes, read_from};

use crate::exit_codes::NO;
use crate::input::Input;
use crate::output::{Output, PrintError};

/// Validate a configuration file and describe its effect; exits with 1 if it is invalid
#[derive(Args, Debug)]
pub(crate) struct CheckConfigArgs {
    /// EndpointPickerConfig file, as for signalbox-epp --config-file, or a ConfigMap or Helm values with it in
    /// them; - for standard input
    #[arg(value_name = "FILE")]
    file: Input,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Validates each configuration in the file and prints its effect to stdout. The problems of an invalid one go to stderr
/// as text, and to stdout as JSON, one line per configuration.
///
/// # Errors
/// When the file cannot be read, or stdout or stderr is closed.
pub(crate) fn run(args: &CheckConfigArgs) -> anyhow::Result<ExitCode> {
    let path = match &args.file {
        Input::StandardInput => PathBuf::from(args.file.to_string()),
        Input::File(path) => path.clone(),
    };
    let mut is_valid = true;
    for (at, found) in read(&args.file, &path)?.iter().enumerate() {
        is_valid &= found.read.is_ok();
        match args.output {
            Output::Text => print(at, &path, found),
            Output::Json => writeln!(stdout(), "{}", as_json(&path, found)),
        }
        .map_err(PrintError)?;
    }
    Ok(if is_valid { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

/// Returns the configurations in the file. What is neither one nor has one in it is one that is invalid.
fn read(file: &Input, path: &Path) -> anyhow::Result<Vec<Embedded>> {
    let bytes = match file {
        Input::StandardInput => read_from(path, stdin().lock())?,
        Input::File(path) => read_bytes(path)?,
    };
    match parse_bytes(path, &bytes, find) {
        Ok(found) => Ok(found),
        Err(ReadError::Invalid { errors, .. }) => {
            Ok(vec![Embedded { path: String::new(), read: Err(errors), has_own_lines: false }])
        }
        Err(other) => Err(other.into()),
    }
}

/// Prints the configuration at the position `at` as text.
fn print(at: usize, file: &Path, found: &Embedded) -> io::Result<()> {
    let Embedded { path, read, has_own_lines } = found;
    let file = file.display();
    let place = if path.is_empty() { String::new() } else { format!(" {path}:") };
    match read {
        Ok(configuration) => {
            let separator = if at == 0 { "" } else { "\n" };
            write!(stdout(), "{separator}{file}:{place} {}", describe(configuration))
        }
        Err(errors) => {
            let lines = if *has_own_lines { " (lines count from the start of this text)" } else { "" };
            writeln!(stderr(), "{file}:{place}{lines}\n{errors}")
        }
    }
}

fn as_json(file: &Path, found: &Embedded) -> Value {
    let Embedded { path, read, .. } = found;
    let (problems, configuration) = match read {
        Ok(configuration) => (Vec::new(), Some(configuration)),
        Err(errors) => (list(errors.problems()), None),
    };
    json!({
        "file": file.display().to_string(),
        "path": path,
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
