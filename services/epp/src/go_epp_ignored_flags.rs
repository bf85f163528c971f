//! Flags of the Go EPP that charts pass and that say nothing here: accepted, with a word on what holds instead.

use clap::builder::BoolishValueParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

const HEADING: &str = "Of the Go EPP, accepted without effect";

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    /// Anything.
    Value,
    /// True or false; with this one it says what holds here anyway.
    Switch { as_here: bool },
}

/// A flag without effect.
#[derive(Debug)]
struct Foreign {
    name: &'static str,
    takes: Takes,
    /// What holds instead.
    instead: &'static str,
}

const fn value(name: &'static str, instead: &'static str) -> Foreign {
    Foreign { name, takes: Takes::Value, instead }
}

const fn switch(name: &'static str, as_here: bool, instead: &'static str) -> Foreign {
    Foreign { name, takes: Takes::Switch { as_here }, instead }
}

const ENDPOINTS: &str = "the aggregators say which endpoints there are";
const PAGES: &str = "the endpoints file says where metrics are (metricsUrl)";
const LOGS: &str = "--log-format and -v say how and what is logged";
const OPEN: &str = "the metrics port is plaintext and asks nobody who he is";

const FOREIGN: &[Foreign] = &[
    switch("ha-enable-leader-election", false, "every replica decides, and none leads"),
    value("pool-group", "a pool is known by its namespace and name"),
    value("endpoint-selector", ENDPOINTS),
    value("endpoint-target-ports", ENDPOINTS),
    value("refresh-metrics-interval", "collectors read metrics, as their --scrape-interval says"),
    value("refresh-prometheus-metrics-interval", "/metrics is as of when it is read"),
    value("metrics-staleness-threshold", "collectors and aggregators say when values are stale"),
    value("model-server-metrics-port", PAGES),
    value("model-server-metrics-path", PAGES),
    value("model-server-metrics-scheme", PAGES),
    switch("model-server-metrics-https-insecure-skip-verify", true, PAGES),
    switch("health-checking", true, "health is answered on the port for gateways too, always"),
    switch("enable-cert-reload", true, "--cert-path is read again when it changes, always"),
    switch("enable-pprof", false, "there is no /debug/pprof"),
    switch("enable-grpc-stream-metrics", true, "signalbox_epp_streams is always there"),
    switch("allow-experimental-plugins", true, "every plugin that is known is allowed"),
    switch("metrics-endpoint-auth", false, OPEN),
    value("metrics-client-ca-file", OPEN),
    value("metrics-cert-dir", OPEN),
    switch("zap-devel", false, LOGS),
    value("zap-stacktrace-level", LOGS),
    value("zap-time-encoding", LOGS),
];

/// Flags that the Go EPP refuses too, by now.
const REMOVED: [&str; 5] = [
    "total-queued-requests-metric",
    "total-running-requests-metric",
    "kv-cache-usage-percentage-metric",
    "lora-info-metric",
    "cache-info-metric",
];

/// A word on a flag that has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its name, without dashes.
    pub flag: &'static str,
    /// What holds instead.
    pub instead: &'static str,
}

/// The flags without effect that were given.
#[derive(Clone, Debug, Default)]
pub struct ForeignFlags {
    /// A word on each that asks for what does not hold.
    pub notes: Vec<Note>,
}

impl Foreign {
    fn arg(&self) -> Arg {
        let arg = Arg::new(self.name).long(self.name).help_heading(HEADING).help(self.instead);
        match self.takes {
            Takes::Value => arg.value_name("VALUE").action(ArgAction::Set),
            Takes::Switch { .. } => arg
                .value_name("BOOL")
                .action(ArgAction::Set)
                .num_args(0..=1)
                .default_missing_value("true")
                .value_parser(BoolishValueParser::new()),
        }
    }

    fn note(&self, matches: &ArgMatches) -> Option<Note> {
        let is_foreign = match self.takes {
            Takes::Value => matches.get_one::<String>(self.name).is_some_and(|value| !value.is_empty()),
            Takes::Switch { as_here } => matches.get_one::<bool>(self.name).is_some_and(|is| *is != as_here),
        };
        is_foreign.then_some(Note { flag: self.name, instead: self.instead })
    }
}

impl Args for ForeignFlags {
    fn augment_args(command: Command) -> Command {
        let removed = REMOVED.map(|name| Arg::new(name).long(name).hide(true).action(ArgAction::Set));
        command.args(FOREIGN.iter().map(Foreign::arg)).args(removed)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ForeignFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        if let Some(name) = REMOVED.into_iter().find(|name| matches.contains_id(name)) {
            let why = "the names of an engine's metrics follow from the engine that the endpoints file names";
            return Err(Error::raw(ErrorKind::InvalidValue, format!("--{name} is no more: {why}\n")));
        }
        Ok(Self { notes: FOREIGN.iter().filter_map(|flag| flag.note(matches)).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        unbooked_requests: ForeignFlags,
    }

    fn notes(flags: &[&str]) -> Vec<&'static str> {
        let parsed = Flags::try_parse_from(["test"].iter().chain(flags)).unwrap();
        parsed.unbooked_requests.notes.iter().map(|note| note.flag).collect()
    }

    #[test]
    fn what_is_asked_for_and_does_not_hold_is_noted() {
        assert!(notes(&[]).is_empty());
        assert_eq!(["ha-enable-leader-election"], *notes(&["--ha-enable-leader-election"]));
        assert_eq!(["enable-pprof"], *notes(&["--enable-pprof=true", "--metrics-endpoint-auth=false"]));
        assert_eq!(["enable-cert-reload"], *notes(&["--enable-cert-reload=false", "--health-checking"]));
        assert_eq!(["pool-group"], *notes(&["--pool-group", "inference.networking.k8s.io"]));
        assert!(notes(&["--pool-group="]).is_empty());
    }

    #[test]
    fn names_of_metrics_are_refused() {
        for name in REMOVED {
            let refused = Flags::try_parse_from(["test", &format!("--{name}=x")]).unwrap_err().to_string();
            assert!(refused.contains(name) && refused.contains("endpoints file"), "{refused}");
        }
    }
}
