//! `signalbox replay`: makes recorded decisions again.

use std::fs;
use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;
use signalbox_schedule::{Decision, DecisionAccount, InvalidRecording, Recording, Replay, Verdict};

use crate::account;

/// Make recorded decisions again, from all that they read; fails if any comes out otherwise
#[derive(Args, Debug)]
pub(crate) struct ReplayArgs {
    /// One recording, or a list: what an EPP answers on its metrics port to GET /decisions?full=true
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// What a recording says of itself before the rest can be understood.
#[derive(Deserialize)]
struct Head {
    recording: u32,
}

/// Makes each decision again and prints why it comes out as it does, and whether as recorded.
///
/// # Errors
/// When the file cannot be read, or is no recording of this version.
pub(crate) fn run(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let name = args.file.display();
    let text = fs::read_to_string(&args.file).with_context(|| format!("cannot read {name}"))?;
    let verdict = replay(&text, &mut stdout().lock()).with_context(|| format!("cannot replay {name}"))?;
    Ok(match verdict {
        Verdict::Same => ExitCode::SUCCESS,
        Verdict::Different => ExitCode::FAILURE,
    })
}

/// `Different` if any is.
fn replay(text: &str, out: &mut impl Write) -> anyhow::Result<Verdict> {
    let recordings = read(text)?;
    let mut different = 0;
    for recording in &recordings {
        let replay = recording.replay().with_context(|| format!("decision {}", recording.number))?;
        different += usize::from(replay.verdict == Verdict::Different);
        writeln!(out, "{}", replayed(recording, replay))?;
    }
    writeln!(out, "{} decisions, {different} with another answer", recordings.len())?;
    Ok(if different == 0 { Verdict::Same } else { Verdict::Different })
}

fn read(text: &str) -> anyhow::Result<Vec<Recording>> {
    let is_list = text.trim_start().starts_with('[');
    let texts: Vec<&RawValue> = match is_list {
        true => serde_json::from_str(text),
        false => serde_json::from_str(text).map(|one| vec![one]),
    }
    .context("it is no JSON")?;
    ensure!(!texts.is_empty(), "it has no recordings");
    let one = |(index, text): (usize, &RawValue)| {
        let head = serde_json::from_str::<Head>(text.get());
        let Head { recording } = head.with_context(|| {
            format!("entry {index} is no recording; an EPP gives them with GET /decisions?full=true")
        })?;
        ensure!(recording == Recording::FORMAT, "entry {index}: {}", InvalidRecording::Format(recording));
        serde_json::from_str(text.get()).with_context(|| format!("entry {index} is no whole recording"))
    };
    texts.into_iter().enumerate().map(one).collect()
}

fn replayed(recording: &Recording, replay: Replay) -> String {
    let Replay { decision, explanation, verdict } = replay;
    let Recording { number, at_unix_ms, request_id, .. } = recording;
    let (number, at_unix_ms, request_id) = (*number, *at_unix_ms, request_id.clone());
    let told = account::told(&DecisionAccount { number, at_unix_ms, request_id, explanation });
    let verdict = match verdict {
        Verdict::Same => "same answer".to_owned(),
        Verdict::Different => {
            format!(
                "differs: {}, recorded {}",
                said(recording, decision),
                said(recording, recording.decision)
            )
        }
    };
    format!("{told}\n{verdict}\n")
}

fn said(recording: &Recording, decision: Decision) -> String {
    match decision {
        Decision::Picked { position, terms } => {
            let name = recording.view.endpoints.get(position).map_or("?", |member| member.spec.name.as_str());
            format!("{name} at {:.1} ms", terms.total_us() as f64 / 1e3)
        }
        Decision::NoEndpoint => "no endpoint".to_owned(),
        Decision::Filtered => "none left by the filters".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDED: &str = include_str!("../../../libs/schedule/tests/recording.json");

    fn replayed(text: &str) -> (Verdict, String) {
        let mut out = Vec::new();
        let verdict = replay(text, &mut out).unwrap();
        (verdict, String::from_utf8(out).unwrap())
    }

    #[test]
    fn one_recording_or_a_list_is_made_again() {
        let (verdict, text) = replayed(RECORDED);
        assert_eq!(Verdict::Same, verdict, "{text}");
        assert!(text.contains("request recorded") && text.contains("\nsame answer\n"), "{text}");
        let (verdict, text) = replayed(&format!("[{RECORDED},{RECORDED}]"));
        assert_eq!(Verdict::Same, verdict, "{text}");
        assert!(text.ends_with("2 decisions, 0 with another answer\n"), "{text}");
    }

    #[test]
    fn another_answer_is_told_with_the_recorded_one() {
        let mut recorded: serde_json::Value = serde_json::from_str(RECORDED).unwrap();
        recorded["decision"] = "no_endpoint".into();
        let (verdict, text) = replayed(&recorded.to_string());
        assert_eq!(Verdict::Different, verdict);
        assert!(text.contains("differs: pod-") && text.contains(", recorded no endpoint"), "{text}");
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let said = |text: &str| format!("{:#}", replay(text, &mut Vec::new()).unwrap_err());
        let lacking = RECORDED.replace("\"seed\"", "\"need\"");
        let cases = [
            ("nonsense", "no JSON"),
            ("[]", "no recordings"),
            ("{\"winner\": \"pod-a\"}", "GET /decisions?full=true"),
            ("{\"recording\": 999}", "the format 999"),
            (lacking.as_str(), "missing field `seed`"),
        ];
        for (text, reason) in cases {
            assert!(said(text).contains(reason), "{text}: {}", said(text));
        }
        let short = RECORDED.replace("\"blocks\": [", "\"blocks\": [1,");
        assert!(said(&short).contains("matches.blocks has 5 entries for 4 endpoints"), "{}", said(&short));
    }
}
