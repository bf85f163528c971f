//! Flags of the Go EPP that charts pass and that have no effect here: accepted, with a warning about what
//! applies instead.

use clap::builder::BoolishValueParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

const HEADING: &str = "Flags of the Go EPP without effect";

/// The kind of value that a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ValueKind {
    /// Any text.
    Text,
    /// True or false. `effective` is the value that matches what Signalbox does anyway.
    Switch { effective: bool },
}

/// The definition of a flag without effect.
#[derive(Debug)]
struct Definition {
    name: &'static str,
    kind: ValueKind,
    /// What applies instead.
    instead: &'static str,
}

const fn text(name: &'static str, instead: &'static str) -> Definition {
    Definition { name, kind: ValueKind::Text, instead }
}

const fn switch(name: &'static str, effective: bool, instead: &'static str) -> Definition {
    Definition { name, kind: ValueKind::Switch { effective }, instead }
}

const ENDPOINTS: &str = "the endpoints come from the aggregators";
const PAGES: &str = "metricsUrl in the endpoints file, annotations of pods, or metrics-data-source in the aggregators' --config-file say where metrics are";
const VERIFICATION: &str = "collectors read the metrics pages; give the flag to them";
const LOGS: &str = "--log-format and -v control logging";
const OPEN: &str = "the metrics port is served in plaintext without authentication";

const IGNORED: &[Definition] = &[
    switch("ha-enable-leader-election", false, "every replica decides; there is no leader"),
    text("pool-group", "a pool is identified by its namespace and name"),
    text("endpoint-selector", ENDPOINTS),
    text("endpoint-target-ports", ENDPOINTS),
    text("refresh-metrics-interval", "collectors scrape metrics; set their --scrape-interval"),
    text("refresh-prometheus-metrics-interval", "/metrics always shows current values"),
    text("metrics-staleness-threshold", "collectors and aggregators determine when values are stale"),
    text("model-server-metrics-port", PAGES),
    text("model-server-metrics-path", PAGES),
    text("model-server-metrics-scheme", PAGES),
    switch("model-server-metrics-https-insecure-skip-verify", false, VERIFICATION),
    switch("health-checking", true, "the port for gateways always serves health checks, too"),
    switch("enable-cert-reload", true, "certificates in --cert-path are always reloaded when they change"),
    switch("enable-pprof", false, "/debug/pprof does not exist"),
    switch("enable-grpc-stream-metrics", true, "signalbox_epp_open_streams is always exported"),
    switch("allow-experimental-plugins", true, "every known plugin is allowed"),
    switch("metrics-endpoint-auth", false, OPEN),
    text("metrics-client-ca-file", OPEN),
    text("metrics-cert-dir", OPEN),
    switch("zap-devel", false, LOGS),
    text("zap-stacktrace-level", LOGS),
    text("zap-time-encoding", LOGS),
];

/// Flags that newer versions of the Go EPP reject, too.
const REMOVED: [&str; 5] = [
    "total-queued-requests-metric",
    "total-running-requests-metric",
    "kv-cache-usage-percentage-metric",
    "lora-info-metric",
    "cache-info-metric",
];

/// A given flag that has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IgnoredFlag {
    /// Name of the flag, without dashes.
    pub flag: &'static str,
    /// What applies instead.
    pub instead: &'static str,
}

/// The given flags that have no effect.
#[derive(Clone, Debug, Default)]
pub struct IgnoredGoEppFlags {
    /// Every given flag whose value asks for something else than what Signalbox does.
    pub ignored: Vec<IgnoredFlag>,
}

impl Definition {
    fn arg(&self) -> Arg {
        let arg = Arg::new(self.name).long(self.name).help_heading(HEADING).help(self.instead);
        match self.kind {
            ValueKind::Text => arg.value_name("VALUE").action(ArgAction::Set),
            ValueKind::Switch { .. } => arg
                .value_name("BOOL")
                .action(ArgAction::Set)
                .num_args(0..=1)
                .default_missing_value("true")
                .value_parser(BoolishValueParser::new()),
        }
    }

    fn ignored(&self, matches: &ArgMatches) -> Option<IgnoredFlag> {
        let is_ignored = match self.kind {
            ValueKind::Text => matches.get_one::<String>(self.name).is_some_and(|value| !value.is_empty()),
            ValueKind::Switch { effective } => {
                matches.get_one::<bool>(self.name).is_some_and(|value| *value != effective)
            }
        };
        is_ignored.then_some(IgnoredFlag { flag: self.name, instead: self.instead })
    }
}

impl Args for IgnoredGoEppFlags {
    fn augment_args(command: Command) -> Command {
        let removed = REMOVED.map(|name| Arg::new(name).long(name).hide(true).action(ArgAction::Set));
        command.args(IGNORED.iter().map(Definition::arg)).args(removed)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for IgnoredGoEppFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        if let Some(name) = REMOVED.into_iter().find(|name| matches.contains_id(name)) {
            let reason = "the engine in the endpoints file determines the names of its metrics";
            return Err(Error::raw(
                ErrorKind::InvalidValue,
                format!("--{name} is no longer supported: {reason}\n"),
            ));
        }
        Ok(Self { ignored: IGNORED.iter().filter_map(|flag| flag.ignored(matches)).collect() })
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
        go_epp: IgnoredGoEppFlags,
    }

    fn ignored(flags: &[&str]) -> Vec<&'static str> {
        let parsed = Flags::try_parse_from(["test"].iter().chain(flags)).unwrap();
        parsed.go_epp.ignored.iter().map(|ignored| ignored.flag).collect()
    }

    #[test]
    fn flags_that_ask_for_other_behavior_are_reported() {
        assert!(ignored(&[]).is_empty());
        assert_eq!(["ha-enable-leader-election"], *ignored(&["--ha-enable-leader-election"]));
        assert_eq!(["enable-pprof"], *ignored(&["--enable-pprof=true", "--metrics-endpoint-auth=false"]));
        assert_eq!(["enable-cert-reload"], *ignored(&["--enable-cert-reload=false", "--health-checking"]));
        assert_eq!(["pool-group"], *ignored(&["--pool-group", "inference.networking.k8s.io"]));
        assert!(ignored(&["--pool-group="]).is_empty());
    }

    #[test]
    fn metric_name_flags_are_rejected() {
        for name in REMOVED {
            let error = Flags::try_parse_from(["test", &format!("--{name}=x")]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("endpoints file"), "{error}");
        }
    }
}
