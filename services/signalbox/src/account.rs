//! A decision and its reasons, for people.

use std::time::{Duration, UNIX_EPOCH};

use signalbox_schedule::{Candidate, DecisionAccount, Explanation, Terms};
use signalbox_types::{Rates, Request};

/// A decision that was made: when, about which request, and why.
pub(crate) fn told(account: &DecisionAccount) -> String {
    let DecisionAccount { number, at_unix_ms, request_id, explanation } = account;
    let at = humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(*at_unix_ms));
    let request = request_id.as_ref().map_or(String::new(), |id| format!(", request {id}"));
    format!("decision {number} at {at}{request}\n{}", explained(explanation))
}

/// Why a request goes where it goes.
pub(crate) fn explained(explanation: &Explanation) -> String {
    let Explanation { version, view_age_ms, seed, request, why, candidates, .. } = explanation;
    let version = version.as_deref().unwrap_or("none yet");
    let Request { model, prompt_tokens, max_output_tokens, .. } = request;
    let limit = max_output_tokens.map_or(String::new(), |tokens| format!(", at most {tokens} in return"));
    let is_weighted = candidates.iter().any(|candidate| candidate.total.is_some());
    let rows = if is_weighted { by_score(candidates) } else { by_time(candidates) };
    format!(
        "{why}\n\nmodel {model}, {prompt_tokens} prompt tokens{limit}; view {version}, {view_age_ms} ms old; seed {seed}\n\n{}",
        aligned(&rows)
    )
}

/// The terms of the expected time, and the rates that they follow from.
fn by_time(candidates: &[Candidate]) -> Vec<Vec<String>> {
    const NAMES: [&str; 19] = [
        "endpoint",
        "tier",
        "cached",
        "ahead",
        "requests",
        "prefills",
        "wait ms",
        "adapter ms",
        "prefill ms",
        "beside ms",
        "ramp %",
        "ramp ms",
        "others ms",
        "total ms",
        "answer ms",
        "tokens/s",
        "ms/token",
        "+ms/request",
        "address",
    ];
    let mut rows = vec![NAMES.map(str::to_owned).to_vec()];
    rows.extend(candidates.iter().map(|candidate| {
        let Terms { tier, cached_tokens, ahead_tokens, requests, prefills, .. } = candidate.terms;
        let Terms { wait_us, adapter_us, prefill_us, interference_us, .. } = candidate.terms;
        let Terms { ramp_us, others_us, decode_us, .. } = candidate.terms;
        let Rates { prefill_tokens_per_second, decode_token_us, decode_interference_us } = candidate.rates;
        let standing = candidate.removed_by.clone().unwrap_or_else(|| format!("{tier:?}").to_lowercase());
        let mut row = vec![candidate.endpoint.clone(), standing];
        row.extend([cached_tokens, ahead_tokens, requests, prefills].map(|count| count.to_string()));
        row.extend([wait_us, adapter_us, prefill_us, interference_us].map(ms));
        row.push(candidate.ramp_percent.to_string());
        row.extend([ramp_us, others_us, candidate.total_us, decode_us].map(ms));
        row.push(prefill_tokens_per_second.to_string());
        row.extend([decode_token_us, decode_interference_us].map(fine_ms));
        row.push(candidate.address.clone());
        row
    }));
    rows
}

/// Each score × its weight, and their sum.
fn by_score(candidates: &[Candidate]) -> Vec<Vec<String>> {
    let scorers = candidates.iter().map(|candidate| &candidate.marks).max_by_key(|marks| marks.len());
    let scorers: Vec<_> = scorers.into_iter().flatten().map(|mark| mark.scorer.clone()).collect();
    let mut names: Vec<_> = ["endpoint", "removed by", "total"].map(str::to_owned).into();
    names.extend(scorers.iter().cloned());
    names.extend(["cached", "requests", "expected ms", "address"].map(str::to_owned));
    let mut rows = vec![names];
    rows.extend(candidates.iter().map(|candidate| {
        let mark = |at: usize| match candidate.marks.get(at) {
            Some(mark) => format!("{:.3} × {}", mark.score, mark.weight),
            None => "-".to_owned(),
        };
        let removed_by = candidate.removed_by.clone().unwrap_or_else(|| "-".to_owned());
        let total = candidate.total.map_or("-".to_owned(), |total| format!("{total:.4}"));
        let mut row = vec![candidate.endpoint.clone(), removed_by, total];
        row.extend((0..scorers.len()).map(mark));
        row.extend([
            candidate.terms.cached_tokens.to_string(),
            candidate.terms.requests.to_string(),
            ms(candidate.total_us),
            candidate.address.clone(),
        ]);
        row
    }));
    rows
}

fn ms(us: u64) -> String {
    format!("{:.1}", us as f64 / 1e3)
}

fn fine_ms(us: u32) -> String {
    format!("{:.3}", f64::from(us) / 1e3)
}

/// Columns as wide as they must be; the first and the last to the left, the others to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ if column + 1 == columns => cell.clone(),
            _ => format!("{cell:>width$}"),
        });
        text.push_str(&cells.collect::<Vec<_>>().join("  "));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use signalbox_schedule::{Mark, Tier};

    use super::*;

    fn candidate() -> Candidate {
        Candidate {
            endpoint: "pod-a".to_owned(),
            address: "10.0.0.1:8000".to_owned(),
            terms: Terms {
                tier: Tier::Open,
                cached_tokens: 640,
                ahead_tokens: 1_600,
                requests: 2,
                prefills: 1,
                wait_us: 200_000,
                prefill_us: 45_000,
                interference_us: 44_800,
                decode_us: 1_715_200,
                ramp_us: 22_440,
                others_us: 22_500,
                adapter_us: 0,
            },
            total_us: 334_740,
            rates: Rates::default(),
            ramp_percent: 25,
            removed_by: None,
            marks: Vec::new(),
            total: None,
        }
    }

    fn explanation(candidates: Vec<Candidate>) -> Explanation {
        Explanation {
            version: Some("1.2".to_owned()),
            view_age_ms: 3,
            seed: 4,
            request: Request { model: "m".to_owned(), prompt_tokens: 1_000, ..Request::default() },
            winner: Some("pod-a".to_owned()),
            why: "because".to_owned(),
            candidates,
        }
    }

    #[test]
    fn every_term_and_every_rate_is_shown() {
        let text = explained(&explanation(vec![candidate()]));
        assert_eq!(Some("because"), text.lines().next());
        let row = text.lines().find(|line| line.starts_with("pod-a")).unwrap();
        let cells: Vec<_> = row.split_whitespace().collect();
        let expected = [
            "pod-a",
            "open",
            "640",
            "1600",
            "2",
            "1",
            "200.0",
            "0.0",
            "45.0",
            "44.8",
            "25",
            "22.4",
            "22.5",
            "334.7",
            "1715.2",
            "8000",
            "6.000",
            "0.350",
            "10.0.0.1:8000",
        ];
        assert_eq!(expected.as_slice(), cells);
    }

    #[test]
    fn scores_are_shown_with_their_weights_and_what_removed_an_endpoint_in_their_place() {
        let mark = Mark { scorer: "queue-scorer".to_owned(), score: 0.5, weight: 2.0, product: 1.0 };
        let scored = Candidate { marks: vec![mark], total: Some(1.0), ..candidate() };
        let removed = Candidate {
            endpoint: "pod-b".to_owned(),
            removed_by: Some("role-filter".to_owned()),
            ..candidate()
        };
        let text = explained(&explanation(vec![scored, removed]));
        assert!(text.contains("queue-scorer") && text.contains("0.500 × 2"), "{text}");
        assert!(text.contains("role-filter"), "{text}");
    }

    #[test]
    fn a_past_decision_is_dated_and_named() {
        let request_id = Some("r-1".to_owned());
        let explanation = explanation(Vec::new());
        let text =
            told(&DecisionAccount { number: 9, at_unix_ms: 1_700_000_000_123, request_id, explanation });
        assert!(text.starts_with("decision 9 at 2023-11-14T22:13:20.123Z, request r-1\n"), "{text}");
    }
}
