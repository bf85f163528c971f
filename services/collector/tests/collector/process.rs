//! The program.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStderr, Command, Stdio};

fn program(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_signalbox-collector"));
    command.args(flags).stderr(Stdio::piped()).stdout(Stdio::piped());
    command
}

type LogLines = Lines<BufReader<ChildStderr>>;

/// Reads log lines until the program says that it runs. The rest is to be kept, for the program to write into.
fn wait_until_it_runs(child: &mut Child) -> (String, LogLines) {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines.by_ref().map(Result::unwrap).find(|line| line.contains("the collector runs"));
    (line.expect("it runs"), lines)
}

#[test]
fn ends_well_when_asked_to() {
    for signal in ["-TERM", "-INT"] {
        let flags = ["--aggregator", "127.0.0.1:1", "--metrics-bind", "127.0.0.1", "--metrics-port", "0"];
        let mut child = program(&flags).spawn().unwrap();
        let (_, _log) = wait_until_it_runs(&mut child);
        let asked = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(asked.success());
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn logs_as_json_where_wanted() {
    let flags = ["--aggregator", "127.0.0.1:1", "--metrics-bind", "127.0.0.1", "--metrics-port", "0"];
    let mut child = program(&flags).args(["--log-format", "json"]).spawn().unwrap();
    let (line, _log) = wait_until_it_runs(&mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
}

#[test]
fn a_taken_port_is_named_with_its_flag() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let flags = ["--aggregator", "127.0.0.1:1", "--metrics-bind", "127.0.0.1", "--metrics-port", &port];
    let output = program(&flags).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(message.contains(&port) && message.contains("--metrics-port"), "{message}");
}

#[test]
fn bad_flags_are_refused() {
    let output = program(&["--aggregator", "nowhere"]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(message.contains("HOST:PORT"), "{message}");
}
