//! `signalbox replay`: repeats recorded decisions and compares the results.

use std::io::{Write, stdout};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Args;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;
use serde_json::value::RawValue;
use signalbox_schedule::{Decision, ExplainedDecision, InvalidRecording, Recording, Replay, Verdict};

use crate::decision_table;
use crate::exit_codes::NO;
use crate::input::Input;
use crate::output::{Output, PrintError};

/// Repeat recorded decisions and compare the results; exits with 1 if one differs
#[derive(Args, Debug)]
pub(crate) struct ReplayArgs {
    /// One recording or a list, as returned by GET /decisions?full=true on the metrics port of an EPP; - for standard input
    #[arg(value_name = "FILE")]
    file: Input,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// The part of a recording that identifies its format.
#[derive(Deserialize)]
struct Head {
    format_version: u32,
}

/// Repeats each decision, and prints its explanation and whether the result is the recorded one.
///
/// # Errors
/// When the file cannot be read, or is not a recording in the format of this version.
pub(crate) fn run(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let text = args.file.read_text()?;
    let replayed = replay(&text).with_context(|| format!("cannot replay {}", args.file))?;
    let different = replayed.iter().filter(|replayed| replayed.verdict == Verdict::Different).count();
    let text = match args.output {
        Output::Text => {
            let decisions: String =
                replayed.iter().map(|replayed| format!("{}\n", describe(replayed))).collect();
            let count = replayed.len();
            format!("{decisions}{count} decisions replayed, {different} with a different result")
        }
        Output::Json => json!({ "replayed": replayed, "different": different }).to_string(),
    };
    writeln!(stdout().lock(), "{text}").map_err(PrintError)?;
    Ok(if different == 0 { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

/// A decision that was replayed.
#[derive(Debug, Serialize)]
struct Replayed {
    /// Whether the result is the recorded one.
    #[serde(rename = "result", serialize_with = "verdict_name")]
    verdict: Verdict,
    /// The result of the replay, and the recorded one: the endpoint and its cost, or why there is none.
    replayed_result: String,
    recorded_result: String,
    /// The replayed decision.
    #[serde(flatten)]
    decision: ExplainedDecision,
}

fn verdict_name<S: Serializer>(verdict: &Verdict, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(match verdict {
        Verdict::Same => "same",
        Verdict::Different => "different",
    })
}

/// Replays all recordings in `text`.
fn replay(text: &str) -> anyhow::Result<Vec<Replayed>> {
    let replay = |recording: &Recording| {
        let replay = recording.replay().with_context(|| format!("decision {}", recording.number));
        replay.map(|replay| Replayed::new(recording, replay))
    };
    parse(text)?.iter().map(replay).collect()
}

fn parse(text: &str) -> anyhow::Result<Vec<Recording>> {
    let is_list = text.trim_start().starts_with('[');
    let texts: Vec<&RawValue> = match is_list {
        true => serde_json::from_str(text),
        false => serde_json::from_str(text).map(|recording| vec![recording]),
    }
    .context("not valid JSON")?;
    ensure!(!texts.is_empty(), "the file has no recordings");
    let parse_entry = |(index, text): (usize, &RawValue)| {
        let head = serde_json::from_str::<Head>(text.get());
        let Head { format_version } = head.with_context(|| {
            format!(
                "entry {index} is not a recording; get recordings from an EPP with GET /decisions?full=true"
            )
        })?;
        ensure!(
            format_version == Recording::FORMAT,
            "entry {index}: {}",
            InvalidRecording::Format(format_version)
        );
        serde_json::from_str(text.get()).with_context(|| format!("entry {index} is an incomplete recording"))
    };
    texts.into_iter().enumerate().map(parse_entry).collect()
}

impl Replayed {
    fn new(recording: &Recording, Replay { decision, explanation, verdict }: Replay) -> Self {
        let Recording { number, at_unix_ms, request_id, waited, .. } = recording;
        let (number, at_unix_ms, request_id, waited) = (*number, *at_unix_ms, request_id.clone(), *waited);
        Self {
            verdict,
            replayed_result: result(recording, decision),
            recorded_result: result(recording, recording.decision),
            decision: ExplainedDecision { number, at_unix_ms, request_id, waited, explanation },
        }
    }
}

/// Describes one replayed decision.
fn describe(replayed: &Replayed) -> String {
    let Replayed { verdict, replayed_result, recorded_result, decision } = replayed;
    let text = decision_table::decision(decision);
    let verdict = match verdict {
        Verdict::Same => "same result".to_owned(),
        Verdict::Different => format!("different result: {replayed_result}, recorded: {recorded_result}"),
    };
    format!("{text}\n{verdict}\n")
}

/// Describes the result of a decision.
fn result(recording: &Recording, decision: Decision) -> String {
    match decision {
        Decision::Picked { position, terms } => {
            let name =
                recording.view.endpoints.iter().nth(position).map_or("?", |member| member.spec.name.as_str());
            format!("{name} at {:.1} ms", terms.total_us() as f64 / 1e3)
        }
        Decision::NoEndpoint => "no endpoint".to_owned(),
        Decision::Filtered => "no endpoint left by the filters".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDED: &str = include_str!("../../../libs/schedule/tests/recording.json");

    #[test]
    fn one_recording_or_a_list_is_replayed() {
        for text in [RECORDED.to_owned(), format!("[{RECORDED},{RECORDED}]")] {
            let replayed = replay(&text).unwrap();
            assert!(replayed.iter().all(|replayed| replayed.verdict == Verdict::Same));
            let text = describe(&replayed[0]);
            assert!(text.contains("request recorded") && text.ends_with("\nsame result\n"), "{text}");
        }
        assert_eq!(2, replay(&format!("[{RECORDED},{RECORDED}]")).unwrap().len());
    }

    #[test]
    fn a_different_result_is_shown_with_the_recorded_one() {
        let mut recorded: serde_json::Value = serde_json::from_str(RECORDED).unwrap();
        recorded["decision"] = "no_endpoint".into();
        let replayed = replay(&recorded.to_string()).unwrap();
        let text = describe(&replayed[0]);
        let is_shown = text.contains("different result: pod-") && text.contains(", recorded: no endpoint");
        assert!(is_shown, "{text}");
        let json = serde_json::to_value(&replayed[0]).unwrap();
        assert_eq!((&json["result"], &json["recorded_result"]), (&"different".into(), &"no endpoint".into()));
        assert_eq!(json["winner"], json["candidates"][0]["endpoint"], "{json}");
    }

    #[test]
    fn errors_name_what_is_wrong_with_the_file() {
        let error = |text: &str| format!("{:#}", replay(text).unwrap_err());
        let incomplete = RECORDED.replace("\"seed\"", "\"need\"");
        let cases = [
            ("nonsense", "not valid JSON"),
            ("[]", "no recordings"),
            ("{\"winner\": \"pod-a\"}", "GET /decisions?full=true"),
            ("{\"format_version\": 999}", "recording format 999"),
            (incomplete.as_str(), "missing field `seed`"),
        ];
        for (text, reason) in cases {
            assert!(error(text).contains(reason), "{text}: {}", error(text));
        }
        let short = RECORDED.replace("\"blocks\": [", "\"blocks\": [1,");
        assert!(error(&short).contains("matches.blocks has 5 entries for 4 endpoints"), "{}", error(&short));
    }
}
