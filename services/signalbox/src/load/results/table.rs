//! Prints a report as a table.

use std::fmt;

use super::latencies::Percentiles;
use super::report::{Errors, GoalsReport, Report, Spread};
use super::tiers::TierReport;

/// Width of the left column.
const NAME_WIDTH: usize = 16;

/// Displays a report as a table.
pub(crate) struct Table<'a>(pub(crate) &'a Report);

impl fmt::Display for Table<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        let stopped = if report.interrupted { ", stopped early" } else { "" };
        writeln!(out, "{} to {} ({}){stopped}", report.profile, report.target, report.model)?;
        let Report { requests, duration_seconds, requests_per_second, .. } = report;
        let requests = format!("{requests} in {duration_seconds:.1} s, {requests_per_second:.1} served/s");
        row(out, "requests", &requests)?;
        errors(out, &report.errors)?;
        throughput(out, report)?;
        writeln!(out, "{:<NAME_WIDTH$}{:>10}{:>10}{:>10}{:>10}", "", "mean", "p50", "p90", "p99")?;
        times(out, "TTFT (ms)", report.ttft_ms)?;
        times(out, "TPOT (ms)", report.tpot_ms)?;
        times(out, "ITL (ms)", report.itl_ms)?;
        times(out, "latency (ms)", report.latency_ms)?;
        report.goals.iter().try_for_each(|reached| goals(out, reached))?;
        match (report.cached_token_share, report.cached_tokens_unknown) {
            (Some(share), _) => {
                row(
                    out,
                    "cached",
                    &format!("{:.1} % of {} prompt tokens", share * 100.0, report.prompt_tokens),
                )?;
            }
            (None, reason) => {
                row(out, "cached", &format!("unknown: {}", reason.unwrap_or("there were no prompts")))?
            }
        }
        spread(out, &report.spread)?;
        tiers(out, &report.tiers)?;
        if report.failed() > 0 {
            writeln!(out, "{} of {} requests failed", report.failed(), report.requests)?;
        }
        Ok(())
    }
}

fn row(out: &mut fmt::Formatter<'_>, name: &str, value: &str) -> fmt::Result {
    writeln!(out, "{name:<NAME_WIDTH$}{value}")
}

fn errors(out: &mut fmt::Formatter<'_>, errors: &Errors) -> fmt::Result {
    let kinds: Vec<_> = errors.by_kind.iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
    let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
    row(out, "errors", &format!("{}{kinds}", errors.total))
}

fn throughput(out: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    match (report.output_tokens_per_second, report.total_tokens_per_second) {
        (Some(output), Some(total)) => {
            row(out, "tokens", &format!("{output:.0} output/s, {total:.0}/s with prompts"))
        }
        _ => row(out, "tokens", "unknown: no response reports its usage"),
    }
}

fn times(out: &mut fmt::Formatter<'_>, name: &str, times: Option<Percentiles>) -> fmt::Result {
    match times {
        Some(Percentiles { mean, p50, p90, p99 }) => {
            writeln!(out, "{name:<NAME_WIDTH$}{mean:>10.1}{p50:>10.1}{p90:>10.1}{p99:>10.1}")
        }
        None => writeln!(out, "{name:<NAME_WIDTH$}{0:>10}{0:>10}{0:>10}{0:>10}", "-"),
    }
}

fn goals(out: &mut fmt::Formatter<'_>, reached: &GoalsReport) -> fmt::Result {
    let GoalsReport { ttft_ms, tpot_ms, share, requests_per_second } = reached;
    let goal = |name: &str, ms: &Option<f64>| ms.map(|ms| format!("{name} ≤ {ms} ms"));
    let set: Vec<_> = [goal("TTFT", ttft_ms), goal("TPOT", tpot_ms)].into_iter().flatten().collect();
    let percent = share * 100.0;
    row(out, "within goals", &format!("{percent:.1} % ({}), {requests_per_second:.1}/s", set.join(" and ")))
}

fn spread(out: &mut fmt::Formatter<'_>, spread: &Spread) -> fmt::Result {
    let Some(max_over_mean) = spread.max_over_mean else {
        return row(out, "endpoints", "unknown: no response names its endpoint; see --endpoint-header");
    };
    row(out, "endpoints", &format!("{} (max/mean {max_over_mean:.2})", spread.endpoints.len()))?;
    for (endpoint, count) in &spread.endpoints {
        writeln!(out, "  {endpoint:<24}{count:>8}")?;
    }
    if spread.unknown > 0 {
        writeln!(out, "  {:<24}{:>8}", "unknown", spread.unknown)?;
    }
    Ok(())
}

fn tiers(out: &mut fmt::Formatter<'_>, tiers: &[TierReport]) -> fmt::Result {
    if tiers.is_empty() {
        return Ok(());
    }
    let headings = ["requests", "shed %", "failed", "TTFT p50", "TTFT p99", "tokens/s", "fairness"];
    write!(out, "{:<NAME_WIDTH$}", "tier")?;
    headings.iter().try_for_each(|heading| write!(out, "{heading:>10}"))?;
    writeln!(out)?;
    let text = |value: Option<f64>, decimals: usize| {
        value.map_or("-".to_owned(), |value| format!("{value:.decimals$}"))
    };
    for tier in tiers {
        let cells = [
            tier.requests.to_string(),
            text(tier.shed_share.map(|share| share * 100.0), 1),
            tier.failed.to_string(),
            text(tier.ttft_ms.map(|ttft| ttft.p50), 1),
            text(tier.ttft_ms.map(|ttft| ttft.p99), 1),
            text(Some(tier.tokens_per_second), 0),
            text(tier.fairness, 3),
        ];
        write!(out, "  {:<1$}", tier.tier, NAME_WIDTH - 2)?;
        cells.iter().try_for_each(|cell| write!(out, "{cell:>10}"))?;
        writeln!(out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn report() -> Report {
        Report {
            target: "http://127.0.0.1:8080/".into(),
            profile: "shared-prefix",
            model: "llama3-8b".into(),
            requests: 100,
            interrupted: false,
            duration_seconds: 2.5,
            requests_per_second: 39.6,
            output_tokens_per_second: Some(2_560.0),
            total_tokens_per_second: Some(178_560.0),
            errors: Errors { total: 1, by_kind: BTreeMap::from([("status 503".into(), 1)]), shed: 0 },
            ttft_ms: Some(Percentiles { mean: 12.34, p50: 10.0, p90: 20.0, p99: 30.0 }),
            tpot_ms: None,
            itl_ms: Some(Percentiles { mean: 6.0, p50: 6.0, p90: 7.0, p99: 9.0 }),
            latency_ms: None,
            goals: Some(GoalsReport {
                ttft_ms: Some(20.0),
                tpot_ms: Some(7.5),
                share: 0.9,
                requests_per_second: 36.0,
            }),
            prompt_tokens: 440_000,
            completion_tokens: 6_400,
            cached_token_share: Some(0.7212),
            cached_tokens_unknown: None,
            spread: Spread {
                endpoints: BTreeMap::from([("pod-a".into(), 60), ("pod-b".into(), 39)]),
                unknown: 0,
                max_over_mean: Some(1.212),
            },
            tiers: Vec::new(),
        }
    }

    #[test]
    fn a_report_is_printed_as_a_table() {
        let expected = "\
shared-prefix to http://127.0.0.1:8080/ (llama3-8b)
requests        100 in 2.5 s, 39.6 served/s
errors          1 (status 503: 1)
tokens          2560 output/s, 178560/s with prompts
                      mean       p50       p90       p99
TTFT (ms)             12.3      10.0      20.0      30.0
TPOT (ms)                -         -         -         -
ITL (ms)               6.0       6.0       7.0       9.0
latency (ms)             -         -         -         -
within goals    90.0 % (TTFT ≤ 20 ms and TPOT ≤ 7.5 ms), 36.0/s
cached          72.1 % of 440000 prompt tokens
endpoints       2 (max/mean 1.21)
  pod-a                         60
  pod-b                         39
1 of 100 requests failed
";
        assert_eq!(Table(&report()).to_string(), expected);
    }

    #[test]
    fn tiers_have_a_table_of_their_own_and_what_is_unknown_has_a_reason() {
        let tier = TierReport {
            tier: "sheddable",
            requests: 40,
            served: 10,
            shed: 30,
            shed_share: Some(0.75),
            failed: 0,
            ttft_ms: Some(Percentiles { mean: 12.34, p50: 10.0, p90: 20.0, p99: 30.0 }),
            tokens_per_second: 1_234.5,
            fairness: Some(0.98765),
            shed_by_reason: BTreeMap::new(),
        };
        let spread = Spread { endpoints: BTreeMap::new(), unknown: 9, max_over_mean: None };
        let report = Report {
            tiers: vec![tier],
            errors: Errors { total: 30, by_kind: BTreeMap::from([("status 429".into(), 30)]), shed: 30 },
            spread,
            cached_token_share: None,
            cached_tokens_unknown: Some("a reason"),
            ..report()
        };
        let text = Table(&report).to_string();
        for expected in [
            "tier              requests    shed %    failed  TTFT p50  TTFT p99  tokens/s  fairness\n",
            "  sheddable             40      75.0         0      10.0      30.0      1234     0.988\n",
            "cached          unknown: a reason\n",
            "endpoints       unknown: no response names its endpoint; see --endpoint-header\n",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        assert!(
            !text.contains("requests failed"),
            "what a full pool refuses among tiers has not failed:\n{text}"
        );
    }
}
