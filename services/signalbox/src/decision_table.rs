//! Formats explanations of decisions as tables.

use std::time::{Duration, UNIX_EPOCH};

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use signalbox_schedule::{Candidate, CostTerms, ExplainedDecision, ExplainedRequest, Explanation};
use signalbox_types::{Rates, Request};

/// Formats a past decision: its number, time, request id and explanation.
pub(crate) fn decision(decision: &ExplainedDecision) -> String {
    let ExplainedDecision { number, at_unix_ms, request_id, waited, explanation } = decision;
    let at = humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(*at_unix_ms));
    let request = request_id.as_ref().map_or(String::new(), |id| format!(", request {id}"));
    let waited = waited.as_ref().map_or(String::new(), |waited| format!("{waited}\n"));
    format!("decision {number} at {at}{request}\n{waited}{}", self::explanation(explanation))
}

/// Formats what would happen to a request: whether it would wait, and the decision on it.
pub(crate) fn request(explained: &ExplainedRequest) -> String {
    let explanation = explained.explanation.as_ref().map(explanation).unwrap_or_default();
    format!("{}\n{explanation}", explained.admission)
}

/// Formats why a request goes to an endpoint, with a table of all candidates.
pub(crate) fn explanation(explanation: &Explanation) -> String {
    let Explanation { version, view_age_ms, seed, request, why, candidates, .. } = explanation;
    let version = version.as_deref().unwrap_or("none yet");
    let Request { model, prompt_tokens, max_output_tokens, .. } = request;
    let limit = max_output_tokens.map_or(String::new(), |tokens| format!(", at most {tokens} output tokens"));
    let is_weighted = candidates.iter().any(|candidate| candidate.total.is_some());
    let rows = if is_weighted { score_rows(candidates) } else { cost_rows(candidates) };
    format!(
        "{why}\n\nmodel {model}, {prompt_tokens} prompt tokens{limit}; view {version}, {view_age_ms} ms old; seed {seed}\n\n{}",
        aligned(&rows)
    )
}

/// Columns of a least-time decision, as docs/DECIDING.md describes them.
const COST_HEADINGS: [&str; 20] = [
    "endpoint",
    "tier",
    "cached",
    "ahead",
    "requests",
    "prefills",
    "wait ms",
    "adapter ms",
    "prefill ms",
    "interf. ms",
    "ramp %",
    "ramp ms",
    "others ms",
    "total ms",
    "answer ms",
    "tokens/s",
    "ms/token",
    "+ms/request",
    "cached err.",
    "address",
];

/// Columns of a weighted decision before and after those of the scorers.
const BEFORE_SCORES: [&str; 3] = ["endpoint", "removed by", "total"];
const AFTER_SCORES: [&str; 4] = ["cached", "requests", "expected ms", "address"];

/// Returns the terms of each candidate's cost and the rates that determine them.
fn cost_rows(candidates: &[Candidate]) -> Vec<Vec<String>> {
    let mut rows = vec![COST_HEADINGS.map(str::to_owned).to_vec()];
    rows.extend(candidates.iter().map(|candidate| {
        let CostTerms { tier, cached_tokens, ahead_tokens, requests, prefills, .. } = candidate.terms;
        let CostTerms { wait_us, adapter_us, prefill_us, interference_us, .. } = candidate.terms;
        let CostTerms { ramp_us, others_us, decode_us, .. } = candidate.terms;
        let Rates { prefill_tokens_per_second, decode_token_us, decode_interference_us } = candidate.rates;
        let tier = candidate.removed_by.clone().unwrap_or_else(|| format!("{tier:?}").to_lowercase());
        let mut row = vec![candidate.endpoint.clone(), tier];
        row.extend([cached_tokens, ahead_tokens, requests, prefills].map(|count| count.to_string()));
        row.extend([wait_us, adapter_us, prefill_us, interference_us].map(ms));
        row.push(candidate.ramp_percent.to_string());
        row.extend([ramp_us, others_us, candidate.total_us, decode_us].map(ms));
        row.push(prefill_tokens_per_second.to_string());
        row.extend([decode_token_us, decode_interference_us].map(fine_ms));
        row.push(candidate.cached_tokens_error.map_or("-".to_owned(), |error| error.to_string()));
        row.push(candidate.address.clone());
        row
    }));
    rows
}

/// Returns each candidate's scores with their weights, and the total.
fn score_rows(candidates: &[Candidate]) -> Vec<Vec<String>> {
    let scorers = candidates.iter().map(|candidate| &candidate.scores).max_by_key(|scores| scores.len());
    let scorers: Vec<_> = scorers.into_iter().flatten().map(|score| score.scorer.clone()).collect();
    let mut headings: Vec<_> = BEFORE_SCORES.map(str::to_owned).into();
    headings.extend(scorers.iter().cloned());
    headings.extend(AFTER_SCORES.map(str::to_owned));
    let mut rows = vec![headings];
    rows.extend(candidates.iter().map(|candidate| {
        let score = |at: usize| match candidate.scores.get(at) {
            Some(score) => format!("{:.3} × {}", score.score, score.weight),
            None => "-".to_owned(),
        };
        let removed_by = candidate.removed_by.clone().unwrap_or_else(|| "-".to_owned());
        let total = candidate.total.map_or("-".to_owned(), |total| format!("{total:.4}"));
        let mut row = vec![candidate.endpoint.clone(), removed_by, total];
        row.extend((0..scorers.len()).map(score));
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

/// Formats microseconds as milliseconds with one decimal.
fn ms(us: u64) -> String {
    format!("{:.1}", us as f64 / 1e3)
}

/// Formats microseconds as milliseconds with three decimals.
fn fine_ms(us: u32) -> String {
    format!("{:.3}", f64::from(us) / 1e3)
}

/// Aligns columns. The first and the last are left-aligned, the others right-aligned.
fn aligned(rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).add_rows(rows);
    let last = table.column_count().saturating_sub(1);
    for (at, column) in table.column_iter_mut().enumerate() {
        let is_left = at == 0 || at == last;
        column.set_cell_alignment(if is_left { CellAlignment::Left } else { CellAlignment::Right });
        column.set_padding((0, 2));
    }
    table.trim_fmt() + "\n"
}

#[cfg(test)]
mod tests {
    use signalbox_schedule::{ScoreTrace, Tier, Waited};

    use super::*;

    fn candidate() -> Candidate {
        Candidate {
            endpoint: "pod-a".to_owned(),
            address: "10.0.0.1:8000".to_owned(),
            terms: CostTerms {
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
            cached_tokens_error: Some(-64),
            removed_by: None,
            scores: Vec::new(),
            total: None,
        }
    }

    fn example(candidates: Vec<Candidate>) -> Explanation {
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
    fn columns_have_the_names_that_the_docs_explain() {
        let docs = include_str!("../../../docs/DECIDING.md");
        let rows: Vec<_> = docs.lines().filter(|line| line.starts_with("| `")).collect();
        for heading in COST_HEADINGS.iter().chain(&BEFORE_SCORES).chain(&AFTER_SCORES) {
            let name = format!("`{heading}`");
            let is_described = |row: &str| row.split('|').nth(1).is_some_and(|cell| cell.contains(&name));
            assert!(rows.iter().any(|row| is_described(row)), "{heading}");
        }
    }

    #[test]
    fn the_cost_table_has_every_term_and_rate() {
        let text = explanation(&example(vec![candidate()]));
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
            "-64",
            "10.0.0.1:8000",
        ];
        assert_eq!(expected.as_slice(), cells);
    }

    #[test]
    fn the_score_table_has_weights_and_the_filter_that_removed_an_endpoint() {
        let mark = ScoreTrace { scorer: "queue-scorer".to_owned(), score: 0.5, weight: 2.0, product: 1.0 };
        let scored = Candidate { scores: vec![mark], total: Some(1.0), ..candidate() };
        let removed = Candidate {
            endpoint: "pod-b".to_owned(),
            removed_by: Some("role-filter".to_owned()),
            ..candidate()
        };
        let text = explanation(&example(vec![scored, removed]));
        assert!(text.contains("queue-scorer") && text.contains("0.500 × 2"), "{text}");
        assert!(text.contains("role-filter"), "{text}");
    }

    #[test]
    fn a_past_decision_has_number_time_and_request_id() {
        let request_id = Some("r-1".to_owned());
        let explanation = example(Vec::new());
        let text = decision(&ExplainedDecision {
            number: 9,
            at_unix_ms: 1_700_000_000_123,
            request_id,
            waited: Some(Waited { ms: 250, behind_priority: Some(3), behind_requests: 8 }),
            explanation,
        });
        let expected = "decision 9 at 2023-11-14T22:13:20.123Z, request r-1\nwaited 250 ms for a place: behind requests of priority 3, 8 ";
        assert!(text.starts_with(expected), "{text}");
    }
}
