//! `signalbox check-config`, as people run it.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::{Command, Output};

const GOOD: &str = "apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: decode-filter
- type: queue-scorer
- type: single-profile-handler
";

/// What is said of a file with `text`.
fn checked(text: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    fs::write(&path, text).unwrap();
    Command::new(env!("CARGO_BIN_EXE_signalbox")).arg("check-config").arg(&path).output().unwrap()
}

#[test]
fn a_good_file_is_put_into_words() {
    let said = checked(GOOD);
    assert_eq!(Some(0), said.status.code());
    let text = String::from_utf8(said.stdout).unwrap();
    for words in [
        "config.yaml: profile default, for every request",
        "1. decode-filter: keeps endpoints whose label llm-d.ai/role is one of",
        "1 × queue-scorer: (most − own) ÷ (most − least) of waiting-queue",
        "max-score-picker: the highest total",
        "line 6: plugins[2]: single-profile-handler: there is one profile",
    ] {
        assert!(text.contains(words), "{words} is missing in\n{text}");
    }
}

#[test]
fn all_problems_are_said_and_the_exit_code_is_1() {
    let said = checked(&GOOD.replace("queue-scorer", "queue-scorr").replace("v1alpha1", "v2"));
    assert_eq!((Some(1), true), (said.status.code(), said.stdout.is_empty()));
    let text = String::from_utf8(said.stderr).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].ends_with("config.yaml:"));
    let expected = [
        "line 1: apiVersion: \"llm-d.ai/v2\" is not known; write apiVersion: llm-d.ai/v1alpha1",
        "line 5: plugins[1]: no plugin has the type \"queue-scorr\"; did you mean \"queue-scorer\"?",
    ];
    assert_eq!(expected, lines[1..]);
}
