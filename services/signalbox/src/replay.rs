//! `signalbox replay`: repeats recorded decisions and compares the results.

use std::fs;
use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;
use signalbox_schedule::{Decision, ExplainedDecision, InvalidRecording, Recording, Replay, Verdict};

use crate::decision_table;

/// Repeat recorded decisions and compare the results; exits with 1 if one differs
#[derive(Args, Debug)]
pub(crate) struct ReplayArgs {
    /// One recording or a list, as returned by GET /decisions?full=true on the metrics port of an EPP
    #[arg(value_name = "FILE")]
    file: PathBuf,
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
    let name = args.file.display();
    let text = fs::read_to_string(&args.file).with_context(|| format!("cannot read {name}"))?;
    let verdict = replay(&text, &mut stdout().lock()).with_context(|| format!("cannot replay {name}"))?;
    Ok(match verdict {
        Verdict::Same => ExitCode::SUCCESS,
        Verdict::Different => ExitCode::FAILURE,
    })
}

/// Replays all recordings in `text`. Returns `Different` if any result differs.
fn replay(text: &str, out: &mut impl Write) -> anyhow::Result<Verdict> {
    let recordings = parse(text)?;
    let mut different = 0;
    for recording in &recordings {
        let replay = recording.replay().with_context(|| format!("decision {}", recording.number))?;
        different += usize::from(replay.verdict == Verdict::Different);
        writeln!(out, "{}", describe(recording, replay))?;
    }
    writeln!(out, "{} decisions replayed, {different} with a different result", recordings.len())?;
    Ok(if different == 0 { Verdict::Same } else { Verdict::Different })
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

/// Describes one replayed decision.
fn describe(recording: &Recording, replay: Replay) -> String {
    let Replay { decision, explanation, verdict } = replay;
    let Recording { number, at_unix_ms, request_id, waited, .. } = recording;
    let (number, at_unix_ms, request_id, waited) = (*number, *at_unix_ms, request_id.clone(), *waited);
    let decided = ExplainedDecision { number, at_unix_ms, request_id, waited, explanation };
    let text = decision_table::decision(&decided);
    let verdict = match verdict {
        Verdict::Same => "same result".to_owned(),
        Verdict::Different => {
            format!(
                "different result: {}, recorded: {}",
                result(recording, decision),
                result(recording, recording.decision)
            )
        }
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

    fn replay_text(text: &str) -> (Verdict, String) {
        let mut out = Vec::new();
        let verdict = replay(text, &mut out).unwrap();
        (verdict, String::from_utf8(out).unwrap())
    }

    #[test]
    fn one_recording_or_a_list_is_replayed() {
        let (verdict, text) = replay_text(RECORDED);
        assert_eq!(Verdict::Same, verdict, "{text}");
        assert!(text.contains("request recorded") && text.contains("\nsame result\n"), "{text}");
        let (verdict, text) = replay_text(&format!("[{RECORDED},{RECORDED}]"));
        assert_eq!(Verdict::Same, verdict, "{text}");
        assert!(text.ends_with("2 decisions replayed, 0 with a different result\n"), "{text}");
    }

    #[test]
    fn a_different_result_is_shown_with_the_recorded_one() {
        let mut recorded: serde_json::Value = serde_json::from_str(RECORDED).unwrap();
        recorded["decision"] = "no_endpoint".into();
        let (verdict, text) = replay_text(&recorded.to_string());
        assert_eq!(Verdict::Different, verdict);
        assert!(
            text.contains("different result: pod-") && text.contains(", recorded: no endpoint"),
            "{text}"
        );
    }

    #[test]
    fn errors_name_what_is_wrong_with_the_file() {
        let error = |text: &str| format!("{:#}", replay(text, &mut Vec::new()).unwrap_err());
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
