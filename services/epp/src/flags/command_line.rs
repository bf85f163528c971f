//! Parses the command line.

use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Command, CommandFactory, Parser};

use super::Flags;

/// The exit code for unusable input, as in sysexits.h.
pub(crate) const EX_USAGE: u8 = 64;

/// The command line is invalid or asks for help.
#[derive(Debug)]
pub struct UsageError(clap::Error);

impl Flags {
    /// Parses a command line that starts with the program's name. Flag names may follow a single dash, as in
    /// Go.
    ///
    /// # Errors
    /// The command line is invalid or asks for help.
    pub fn read(line: impl IntoIterator<Item = OsString>) -> Result<Self, UsageError> {
        let command = Self::command();
        let line = line.into_iter().map(|argument| with_two_dashes(&command, argument));
        Self::try_parse_from(line).map_err(UsageError)
    }
}

impl UsageError {
    /// Prints the error or the help text, and returns the exit code.
    pub fn print(&self) -> ExitCode {
        if !self.0.use_stderr() {
            // Standard output may be closed; nobody reads the help text then.
            let _ = self.0.print();
            return ExitCode::SUCCESS;
        }
        let _ = write!(std::io::stderr(), "{self}");
        ExitCode::from(EX_USAGE)
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        if self.0.kind() != ErrorKind::UnknownArgument {
            return Ok(());
        }
        writeln!(f, "\nKnown flags:")?;
        let command = Flags::command();
        let mut names: Vec<_> = names(&command).collect();
        names.sort_unstable();
        names.iter().try_for_each(|name| writeln!(f, "  --{name}"))
    }
}

/// Returns the long names of all visible flags.
fn names(command: &Command) -> impl Iterator<Item = &str> {
    command.get_arguments().filter(|flag| !flag.is_hide_set()).filter_map(clap::Arg::get_long)
}

/// Turns `-pool-name` into `--pool-name` if there is such a flag.
fn with_two_dashes(command: &Command, argument: OsString) -> OsString {
    let name = argument.to_str().and_then(|text| text.strip_prefix('-'));
    let name = name.map(|text| text.split_once('=').map_or(text, |(name, _)| name));
    match name {
        Some(name) if name.len() > 1 && names(command).any(|known| known == name) => {
            let mut long = OsString::from("-");
            long.push(argument);
            long
        }
        _ => argument,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(flags: &[&str]) -> Result<Flags, UsageError> {
        let line = ["signalbox-epp", "--aggregator", "127.0.0.1:1"].iter().chain(flags);
        Flags::read(line.map(OsString::from))
    }

    #[test]
    fn single_dash_names_are_accepted() {
        let flags = read(&["-pool-name", "llama", "-pool-namespace=ns", "-v", "4", "-drain-timeout=5s"]);
        let flags = flags.unwrap();
        assert_eq!(Some("ns/llama"), flags.go_epp.pool(None).as_deref());
        assert_eq!(4, flags.go_epp.verbosity);
        assert_eq!(5, flags.drain_timeout.as_secs());
        assert_eq!(4, read(&["-v=4"]).unwrap().go_epp.verbosity);
        assert!(!read(&["-secure-serving=false"]).unwrap().serving.secure_serving);
    }

    #[test]
    fn repeated_flag_takes_the_last_value_and_lists_grow() {
        let flags = read(&["--secure-serving", "--secure-serving=false", "-v=4", "--v=2"]).unwrap();
        assert!(!flags.serving.secure_serving && flags.go_epp.verbosity == 2);
        assert_eq!(2, read(&["--aggregator", "127.0.0.1:2"]).unwrap().aggregator.len());
    }

    #[test]
    fn unknown_flag_error_lists_known_flags() {
        let error = read(&["--pool-nam", "llama"]).unwrap_err().to_string();
        assert!(error.contains("'--pool-nam'"), "{error}");
        for known in ["\n  --aggregator\n", "\n  --pool-name\n", "\n  --ha-enable-leader-election\n"] {
            assert!(error.contains(known), "{error}");
        }
        assert!(!error.contains("lora-info-metric"), "{error}");
        let other_error = read(&["--grpc-port", "x"]).unwrap_err().to_string();
        assert!(!other_error.contains("Known flags"), "{other_error}");
    }

    #[test]
    fn pool_flags_conflict_with_each_other() {
        let error = read(&["--pool=a/b", "--pool-name=b"]).unwrap_err().to_string();
        assert!(error.contains("cannot be used with"), "{error}");
        assert!(read(&["--endpoint-selector=app=x", "--pool-name=b"]).is_err());
    }

    #[test]
    fn helm_chart_arguments_are_accepted() {
        let flags = read(&[
            "--pool-name",
            "llama3",
            "--pool-namespace",
            "default",
            "--pool-group",
            "inference.networking.k8s.io",
            "--zap-encoder",
            "json",
            "--grpc-port=9002",
            "--grpc-health-port=9003",
            "--metrics-port=9090",
            "--metrics-endpoint-auth=false",
            "--ha-enable-leader-election",
            "--tracing=false",
            "--secure-serving",
            "--health-checking",
            "--v",
            "1",
        ]);
        let flags = flags.unwrap();
        assert!(flags.serving.secure_serving && !flags.go_epp.tracing);
        let ignored: Vec<_> = flags.ignored_go_epp.ignored.iter().map(|ignored| ignored.flag).collect();
        assert_eq!(["ha-enable-leader-election", "pool-group"], *ignored);
    }
}
