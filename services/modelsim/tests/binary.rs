//! Runs the binary as a process.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use serde_json::Value;

fn modelsim(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_signalbox-modelsim"));
    command.args(flags).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn binary_prints_pod_addresses_as_json_and_stops_on_sigterm() {
    let mut process =
        modelsim(&["--listen", "127.0.0.1:0", "--pods", "3", "--name", "p", "--output", "json"])
            .spawn()
            .unwrap();
    let mut output = BufReader::new(process.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let names: Vec<&str> =
        ready["pods"].as_array().unwrap().iter().map(|pod| pod["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["p-0", "p-1", "p-2"]);
    for pod in ready["pods"].as_array().unwrap() {
        std::net::TcpStream::connect(pod["address"].as_str().unwrap()).unwrap();
    }
    let killed = Command::new("kill").args(["-TERM", &process.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(process.wait().unwrap().code(), Some(0));
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
}

#[test]
fn error_for_a_used_port_names_the_address_and_the_flag() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let output = modelsim(&["--listen", &address]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains(&address) && message.contains("--listen"), "{message}");
}

#[test]
fn invalid_sizes_are_explained() {
    let output = modelsim(&["--listen", "127.0.0.1:0", "--kv-capacity-tokens", "3"]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && message.contains("at least one block"), "{message}");
}
