//! Tests of the command `signalbox check-config`.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::{Command, Output};

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
