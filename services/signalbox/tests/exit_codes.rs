//! The exit codes of `signalbox up` are those of the other commands.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const CONFIG: &str =
    "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins: [{ type: queue-scorer }]\n";
const ENDPOINTS: &str = "apiVersion: signalbox/v1
kind: Endpoints
pool: { name: p }
endpoints: [{ name: a, address: 127.0.0.1:1 }]
";

fn signalbox(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_signalbox"));
    command.args(arguments).envs(variables.iter().copied()).output().unwrap()
}

#[track_caller]
fn assert_exit(code: i32, told: &str, output: &Output) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(Some(code), output.status.code(), "{text}");
    assert!(text.contains(told), "{text}");
}

fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn file_exits_with_the_same_code_in_up_and_check_config() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.yaml").to_str().unwrap().to_owned();
    let directory = folder.path().to_str().unwrap().to_owned();
    let unknown = write(folder.path(), "unknown.yaml", CONFIG.replace("queue-scorer", "queue-scorr"));
    let binary = write(folder.path(), "binary.yaml", b"\xff");
    for (file, code) in [(missing, 2), (directory, 2), (unknown, 1), (binary, 1)] {
        assert_exit(code, &file, &signalbox(&["check-config", &file], &[]));
        assert_exit(code, &file, &signalbox(&["up", "--config-file", &file], &[]));
        assert_exit(code, &file, &signalbox(&["up", "--endpoints", &file], &[]));
    }
}

#[test]
fn cause_is_told_once() {
    for command in [["check-config", "/nowhere.yaml"], ["explain", "/nowhere.json"]] {
        let output = signalbox(&command, &[]);
        assert_exit(2, command[1], &output);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(1, text.matches("os error 2").count(), "{text}");
    }
    let output = signalbox(&["up", "--endpoints", "/nowhere.yaml"], &[]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!("error: /nowhere.yaml: No such file or directory (os error 2)\n", text);
}

#[test]
fn missing_certificate_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let endpoints = write(folder.path(), "endpoints.yaml", ENDPOINTS);
    let missing = folder.path().join("ca.pem").to_str().unwrap().to_owned();
    let any_port = |flag| [flag, "127.0.0.1:0"];
    let flags = ["up", "--endpoints", &endpoints, "--metrics-ca", &missing];
    let ports = [any_port("--aggregator-listen"), any_port("--aggregator-metrics-listen")].concat();
    assert_exit(2, &missing, &signalbox(&[&flags[..], &ports].concat(), &[]));
    let empty = write(folder.path(), "ca.pem", "");
    assert_exit(1, &empty, &signalbox(&[&flags[..], &ports].concat(), &[]));
}

#[test]
fn flags_and_variables_that_are_invalid_exit_with_64() {
    let folder = tempfile::tempdir().unwrap();
    let endpoints = write(folder.path(), "endpoints.yaml", ENDPOINTS);
    let with_endpoints = ["up", "--endpoints", &endpoints];
    let coordinator = [&with_endpoints[..], &["--coordinator", "ftp://a"]].concat();
    assert_exit(64, "ftp://a", &signalbox(&coordinator, &[]));
    let simulators = [&with_endpoints[..], &["--simulators", "2"]].concat();
    assert_exit(64, "--simulators", &signalbox(&simulators, &[]));
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"), ("OTEL_TRACES_SAMPLER", "some")];
    assert_exit(64, "OTEL_TRACES_SAMPLER", &signalbox(&with_endpoints, &variables));
}

#[test]
fn component_that_cannot_start_exits_with_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let endpoints = write(folder.path(), "endpoints.yaml", ENDPOINTS);
    let output = signalbox(&["up", "--endpoints", &endpoints, "--aggregator-listen", &address], &[]);
    assert_exit(1, "--aggregator-listen", &output);
}
