//! The collector as a process.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStderr, Command, Stdio};

fn program(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_signalbox-collector"));
    command.args(flags).stderr(Stdio::piped()).stdout(Stdio::piped());
    command
}

type LogLines = Lines<BufReader<ChildStderr>>;

/// Reads log lines until the collector is ready. The caller keeps the rest, so that the process can continue
/// to write.
fn wait_until_ready(child: &mut Child) -> (String, LogLines) {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines.by_ref().map(Result::unwrap).find(|line| line.contains("collector ready"));
    (line.expect("the collector becomes ready"), lines)
}

#[test]
fn signals_end_the_process_successfully() {
    for signal in ["-TERM", "-INT"] {
        let flags = ["--aggregator", "127.0.0.1:1", "--metrics-bind", "127.0.0.1", "--metrics-port", "0"];
        let mut child = program(&flags).spawn().unwrap();
        let (_, _log) = wait_until_ready(&mut child);
        let signalled = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(signalled.success());
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn log_format_json_prints_json_lines() {
    let flags = ["--aggregator", "127.0.0.1:1", "--metrics-bind", "127.0.0.1", "--metrics-port", "0"];
    let mut child = program(&flags).args(["--log-format", "json"]).spawn().unwrap();
    let (line, _log) = wait_until_ready(&mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
}

#[test]
fn port_in_use_is_reported_with_its_flag() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let flags = ["--aggregator", "127.0.0.1:1", "--metrics-bind", "127.0.0.1", "--metrics-port", &port];
    let output = program(&flags).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(message.contains(&port) && message.contains("--metrics-port"), "{message}");
}

#[test]
fn invalid_flags_are_rejected() {
    let output = program(&["--aggregator", "nowhere"]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(message.contains("HOST:PORT"), "{message}");
}
