//! From a command line to flags.

use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Command, CommandFactory, Parser};

use crate::config::Flags;
use crate::process::EX_USAGE;

/// There is nothing to run: help was asked for, or the flags are wrong.
#[derive(Debug)]
pub struct Refused(clap::Error);

impl Flags {
    /// What a command line says, the program's name first. Names may stand after one dash, as Go's may.
    ///
    /// # Errors
    /// [`Refused`] when it is wrong, or asks for help.
    pub fn read(line: impl IntoIterator<Item = OsString>) -> Result<Self, Refused> {
        let command = Self::command();
        let line = line.into_iter().map(|argument| with_two_dashes(&command, argument));
        Self::try_parse_from(line).map_err(Refused)
    }
}

impl Refused {
    /// Tells whoever called, and returns the exit code.
    pub fn tell(&self) -> ExitCode {
        if !self.0.use_stderr() {
            // Nobody listens: there is nobody to tell.
            let _ = self.0.print();
            return ExitCode::SUCCESS;
        }
        let _ = write!(std::io::stderr(), "{self}");
        ExitCode::from(EX_USAGE)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        if self.0.kind() != ErrorKind::UnknownArgument {
            return Ok(());
        }
        writeln!(f, "\nThe flags are:")?;
        let command = Flags::command();
        let mut names: Vec<_> = names(&command).collect();
        names.sort_unstable();
        names.iter().try_for_each(|name| writeln!(f, "  --{name}"))
    }
}

/// The long names of all flags that are shown.
fn names(command: &Command) -> impl Iterator<Item = &str> {
    command.get_arguments().filter(|flag| !flag.is_hide_set()).filter_map(clap::Arg::get_long)
}

/// `-pool-name` as `--pool-name`, where there is such a flag.
fn with_two_dashes(command: &Command, argument: OsString) -> OsString {
    let name = argument.to_str().and_then(|text| text.strip_prefix('-'));
    let name = name.map(|text| text.split_once('=').map_or(text, |(name, _)| name));
    match name {
        Some(name) if name.len() > 1 && names(command).any(|known| known == name) => {
            let mut longer = OsString::from("-");
            longer.push(argument);
            longer
        }
        _ => argument,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(flags: &[&str]) -> Result<Flags, Refused> {
        let line = ["signalbox-epp", "--aggregator", "127.0.0.1:1"].iter().chain(flags);
        Flags::read(line.map(OsString::from))
    }

    #[test]
    fn names_may_stand_after_one_dash() {
        let flags = read(&["-pool-name", "llama", "-pool-namespace=ns", "-v", "4", "-drain-timeout=5s"]);
        let flags = flags.unwrap();
        assert_eq!(Some("ns/llama"), flags.familiar.pool(None).as_deref());
        assert_eq!(4, flags.familiar.verbosity);
        assert_eq!(5, flags.drain_timeout.as_secs());
        assert_eq!(4, read(&["-v=4"]).unwrap().familiar.verbosity);
        assert!(!read(&["-secure-serving=false"]).unwrap().serving.secure_serving);
    }

    #[test]
    fn of_a_flag_that_is_given_twice_the_last_holds_and_lists_grow() {
        let flags = read(&["--secure-serving", "--secure-serving=false", "-v=4", "--v=2"]).unwrap();
        assert!(!flags.serving.secure_serving && flags.familiar.verbosity == 2);
        assert_eq!(2, read(&["--aggregator", "127.0.0.1:2"]).unwrap().aggregator.len());
    }

    #[test]
    fn an_unknown_flag_is_answered_with_all_that_are_known() {
        let refused = read(&["--pool-nam", "llama"]).unwrap_err().to_string();
        assert!(refused.contains("'--pool-nam'"), "{refused}");
        for known in ["\n  --aggregator\n", "\n  --pool-name\n", "\n  --ha-enable-leader-election\n"] {
            assert!(refused.contains(known), "{refused}");
        }
        assert!(!refused.contains("lora-info-metric"), "{refused}");
        let other = read(&["--grpc-port", "x"]).unwrap_err().to_string();
        assert!(!other.contains("The flags are"), "{other}");
    }

    #[test]
    fn the_pool_is_named_in_one_way() {
        let refused = read(&["--pool=a/b", "--pool-name=b"]).unwrap_err().to_string();
        assert!(refused.contains("cannot be used with"), "{refused}");
        assert!(read(&["--endpoint-selector=app=x", "--pool-name=b"]).is_err());
    }

    #[test]
    fn a_charts_arguments_are_understood() {
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
        assert!(flags.serving.secure_serving && !flags.familiar.tracing);
        let noted: Vec<_> = flags.unbooked_requests.notes.iter().map(|note| note.flag).collect();
        assert_eq!(["ha-enable-leader-election", "pool-group"], *noted);
    }
}
