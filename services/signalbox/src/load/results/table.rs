//! Prints a report as a table.

use std::fmt;

use super::report::{Errors, Percentiles, Report, Spread};

/// Width of the left column.
const NAME_WIDTH: usize = 16;

/// Displays a report as a table.
pub(crate) struct Table<'a>(pub(crate) &'a Report);

impl fmt::Display for Table<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        let stopped = if report.interrupted { ", stopped early" } else { "" };
        writeln!(out, "{} to {} ({}){stopped}", report.profile, report.target, report.model)?;
        writeln!(out, "{:<NAME_WIDTH$}{} in {:.1} s", "requests", report.requests, report.duration_seconds)?;
        errors(out, &report.errors)?;
        writeln!(out, "{:<NAME_WIDTH$}{:>10}{:>10}{:>10}{:>10}", "", "mean", "p50", "p90", "p99")?;
        times(out, "TTFT (ms)", report.ttft_ms)?;
        times(out, "latency (ms)", report.latency_ms)?;
        match report.cached_token_share {
            Some(share) => writeln!(
                out,
                "{:<NAME_WIDTH$}{:.1} % of {} prompt tokens",
                "cached",
                share * 100.0,
                report.prompt_tokens
            )?,
            None => writeln!(out, "{:<NAME_WIDTH$}unknown: no response reports cached tokens", "cached")?,
        }
        spread(out, &report.spread)?;
        if report.errors.total > 0 {
            writeln!(out, "{} of {} requests failed", report.errors.total, report.requests)?;
        }
        Ok(())
    }
}

fn errors(out: &mut fmt::Formatter<'_>, errors: &Errors) -> fmt::Result {
    write!(out, "{:<NAME_WIDTH$}{}", "errors", errors.total)?;
    let kinds: Vec<_> = errors.by_kind.iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
    if kinds.is_empty() { writeln!(out) } else { writeln!(out, " ({})", kinds.join(", ")) }
}

fn times(out: &mut fmt::Formatter<'_>, name: &str, times: Option<Percentiles>) -> fmt::Result {
    match times {
        Some(Percentiles { mean, p50, p90, p99 }) => {
            writeln!(out, "{name:<NAME_WIDTH$}{mean:>10.1}{p50:>10.1}{p90:>10.1}{p99:>10.1}")
        }
        None => writeln!(out, "{name:<NAME_WIDTH$}{0:>10}{0:>10}{0:>10}{0:>10}", "-"),
    }
}

fn spread(out: &mut fmt::Formatter<'_>, spread: &Spread) -> fmt::Result {
    let Some(max_over_mean) = spread.max_over_mean else {
        return writeln!(out, "{:<NAME_WIDTH$}unknown: no response has the header x-signalbox-pod", "pods");
    };
    writeln!(out, "{:<NAME_WIDTH$}{} (max/mean {max_over_mean:.2})", "pods", spread.pods.len())?;
    for (pod, count) in &spread.pods {
        writeln!(out, "  {pod:<24}{count:>8}")?;
    }
    if spread.unknown > 0 {
        writeln!(out, "  {:<24}{:>8}", "unknown", spread.unknown)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_report_is_printed_as_a_table() {
        let report = Report {
            target: "http://127.0.0.1:8080/".into(),
            profile: "shared-prefix",
            model: "llama3-8b".into(),
            requests: 100,
            interrupted: false,
            duration_seconds: 2.5,
            errors: Errors { total: 1, by_kind: BTreeMap::from([("status 503".into(), 1)]) },
            ttft_ms: Some(Percentiles { mean: 12.34, p50: 10.0, p90: 20.0, p99: 30.0 }),
            latency_ms: None,
            prompt_tokens: 440_000,
            completion_tokens: 6_400,
            cached_token_share: Some(0.7212),
            spread: Spread {
                pods: BTreeMap::from([("pod-a".into(), 60), ("pod-b".into(), 39)]),
                unknown: 0,
                max_over_mean: Some(1.212),
            },
        };
        let expected = "\
shared-prefix to http://127.0.0.1:8080/ (llama3-8b)
requests        100 in 2.5 s
errors          1 (status 503: 1)
                      mean       p50       p90       p99
TTFT (ms)             12.3      10.0      20.0      30.0
latency (ms)             -         -         -         -
cached          72.1 % of 440000 prompt tokens
pods            2 (max/mean 1.21)
  pod-a                         60
  pod-b                         39
1 of 100 requests failed
";
        assert_eq!(Table(&report).to_string(), expected);
    }
}
