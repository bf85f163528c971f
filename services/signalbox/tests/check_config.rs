//! Tests of the command `signalbox check-config`.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const VALID: &str = "apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: decode-filter
- type: queue-scorer
- type: single-profile-handler
";

/// Runs `signalbox check-config` on a file with this content.
fn check(text: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    fs::write(&path, text).unwrap();
    Command::new(env!("CARGO_BIN_EXE_signalbox")).arg("check-config").arg(&path).output().unwrap()
}

/// Runs `signalbox check-config` with these arguments and this standard input.
fn check_input(arguments: &[&str], text: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_signalbox"));
    command.arg("check-config").args(arguments);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    // A process that does not read its standard input may have ended already.
    let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn json_says_whether_the_file_is_valid_and_why_not() {
    let json = |text: &str| {
        let output = check_input(&["-", "--output", "json"], text);
        let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), printed)
    };
    let (code, printed) = json(VALID);
    assert_eq!((Some(0), &printed["valid"]), (code, &true.into()), "{printed}");
    assert_eq!(("standard input", 0), (printed["file"].as_str().unwrap(), list(&printed, "problems").len()));
    assert!(printed["effect"].as_str().unwrap().starts_with("profile default"), "{printed}");
    assert_eq!((6, "plugins[2]"), place(&list(&printed, "ignored")[0]));
    let (code, printed) = json(&VALID.replace("queue-scorer", "queue-scorr"));
    assert_eq!((Some(1), &printed["valid"]), (code, &false.into()), "{printed}");
    assert_eq!((5, "plugins[1]"), place(&list(&printed, "problems")[0]));
    assert!(printed["effect"].is_null(), "{printed}");
}

fn list<'a>(printed: &'a Value, name: &str) -> &'a [Value] {
    printed[name].as_array().unwrap()
}

/// Returns the line and the path of a problem.
fn place(problem: &Value) -> (u64, &str) {
    (problem["line"].as_u64().unwrap(), problem["path"].as_str().unwrap())
}

#[test]
fn file_that_cannot_be_read_exits_with_2_and_invalid_flags_with_64() {
    let output = check_input(&["no/such.yaml"], "");
    assert_eq!((Some(2), true), (output.status.code(), output.stdout.is_empty()));
    assert!(String::from_utf8(output.stderr).unwrap().contains("no/such.yaml"));
    assert_eq!(Some(64), check_input(&["-", "--output", "table"], VALID).status.code());
}

#[test]
fn a_valid_file_is_described() {
    let output = check(VALID);
    assert_eq!(Some(0), output.status.code());
    let text = String::from_utf8(output.stdout).unwrap();
    for expected in [
        "config.yaml: profile default, for every request",
        "1. decode-filter: keeps endpoints whose label llm-d.ai/role is one of",
        "1 × queue-scorer: (most − own) ÷ (most − least) of waiting-queue",
        "max-score-picker: the highest total",
        "line 6: plugins[2]: single-profile-handler: there is only one profile",
    ] {
        assert!(text.contains(expected), "{expected} is missing in\n{text}");
    }
}

#[test]
fn an_invalid_file_exits_with_1_and_prints_all_problems() {
    let output = check(&VALID.replace("queue-scorer", "queue-scorr").replace("v1alpha1", "v2"));
    assert_eq!((Some(1), true), (output.status.code(), output.stdout.is_empty()));
    let text = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].ends_with("config.yaml:"));
    let expected = [
        "line 1: apiVersion: unknown version \"llm-d.ai/v2\"; write apiVersion: llm-d.ai/v1alpha1",
        "line 5: plugins[1]: unknown plugin type \"queue-scorr\"; did you mean \"queue-scorer\"?",
    ];
    assert_eq!(expected, lines[1..]);
}

#[test]
fn manifest_can_have_several_files() {
    let block = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let broken = VALID.replace("queue-scorer", "queue-scorr");
    let manifest =
        format!("kind: ConfigMap\ndata:\n  good.yaml: |\n{}  bad.yaml: |\n{}", block(VALID), block(&broken));
    let output = check_input(&["-"], &manifest);
    assert_eq!(Some(1), output.status.code());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("standard input: data[\"good.yaml\"]: profile default"), "{text}");
    let text = String::from_utf8(output.stderr).unwrap();
    let expected = "standard input: data[\"bad.yaml\"]:\nline 15: plugins[1]: unknown plugin type";
    assert!(text.starts_with(expected), "{text}");
    let output = check_input(&["-", "--output", "json"], &manifest);
    let lines: Vec<Value> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    assert_eq!((2, "data[\"bad.yaml\"]"), (lines.len(), lines[1]["path"].as_str().unwrap()));
    assert_eq!((15, "plugins[1]"), place(&list(&lines[1], "problems")[0]));
}

#[test]
fn standard_input_is_bounded_like_a_file() {
    let output = check_input(&["-"], &"#".repeat(1024 * 1024 + 1));
    assert_eq!(Some(2), output.status.code());
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!("error: standard input: larger than 1048576 bytes, the maximum\n", text);
    let comment = "#".repeat(1024 * 1024 - VALID.len());
    assert_eq!(Some(0), check_input(&["-"], &format!("{VALID}{comment}")).status.code());
}

#[test]
fn output_that_nobody_reads_exits_with_74() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_signalbox"));
    let piped = command.args(["check-config", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = piped.stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(VALID.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(Some(74), output.status.code(), "{text}");
    assert!(text.starts_with("error: cannot print the output"), "{text}");
}
